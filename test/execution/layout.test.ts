import { describe, expect, it, test } from 'vitest'
import {
  describeLayout,
  inlineLayout,
  layoutBesideLoop,
  layoutOf,
  threadLayouts,
} from '../../src/execution/layout.js'
import { FakeSession } from './fake-session.js'

describe('the layouts of threads', () => {
  it.each([
    { cores: 1, layouts: ['1x1'] },
    { cores: 2, layouts: ['1x2', '2x1'] },
    { cores: 5, layouts: ['1x5', '5x1'] },
    { cores: 6, layouts: ['1x6', '2x3', '6x1'] },
    { cores: 8, layouts: ['1x8', '2x4', '4x2', '8x1'] },
    { cores: 12, layouts: ['1x12', '2x6', '4x3', '12x1'] },
  ])('use all of $cores cores, each with at least twice the sessions of the last', ({ cores, layouts }) => {
    expect(threadLayouts(cores, 64).map((l) => `${l.instances}x${l.intraOpThreads}`)).toEqual(layouts)
  })

  it('have no more sessions than copies are allowed', () => {
    expect(threadLayouts(8, 3.9).map(({ instances }) => instances)).toEqual([1, 2])
    expect(threadLayouts(8, 0).map(({ instances }) => instances)).toEqual([1])
  })
})

it('a layout is read from a session, and told in words', () => {
  expect(layoutOf(new FakeSession('inline'))).toEqual(inlineLayout)
  const three = layoutOf(new FakeSession('thread', undefined, 3))
  expect(three).toEqual({ placement: 'thread', instances: 3, intraOpThreads: 1 })
  expect(describeLayout(three)).toBe('3 sessions of 1 thread')
  expect(describeLayout({ placement: 'thread', instances: 1, intraOpThreads: 4 })).toBe(
    '1 session of 4 threads',
  )
  expect(describeLayout(inlineLayout)).toBe('a session inline')
})

test('the layout beside a busy event loop has all cores but one', () => {
  expect(layoutBesideLoop(1)).toBeUndefined()
  expect(layoutBesideLoop(8)).toEqual({ placement: 'thread', instances: 1, intraOpThreads: 7 })
})
