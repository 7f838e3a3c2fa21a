import { expect, test } from 'vitest'
import { rolledBackTo, switchedTo } from '../../src/state/decisions.js'
import {
  decide,
  desiredOf,
  nothingDesired,
  parseDesiredState,
  withModel,
} from '../../src/state/desired-state.js'

const switched = (...versions: string[]) =>
  versions.reduce(
    (state, version) => decide(state, 'm', 'r', 'switch', {}, switchedTo(version, '1')),
    nothingDesired,
  )

test('the first switch remembers what served before it', () => {
  expect(desiredOf(switched('2'), 'm')).toMatchObject({ current: '2', history: ['1', '2'], pinned: false })
})

test('a rollback goes back one switch and is pinned, until the next switch', () => {
  const back = decide(switched('2', '3'), 'm', 'r', 'rollback', { actor: 'ann' }, rolledBackTo('2'))
  expect(desiredOf(back, 'm')).toMatchObject({ current: '2', history: ['1', '2'], pinned: true, revision: 3 })
  const again = decide(back, 'm', 'r', 'switch', {}, switchedTo('4', undefined))
  expect(desiredOf(again, 'm')).toMatchObject({ current: '4', history: ['1', '2', '4'], pinned: false })
})

test('a rollback to what is no longer the version before is refused', () => {
  expect(() => decide(switched('2', '3'), 'm', 'r', 'rollback', {}, rolledBackTo('1'))).toThrow(/meanwhile/)
})

test('sixteen versions are remembered', () => {
  const state = switched(...Array.from({ length: 40 }, (_, i) => `${i + 2}`))
  const { history } = desiredOf(state, 'm')
  expect(history).toHaveLength(16)
  expect(history.at(-1)).toBe('41')
})

test('what another release has written beside is kept', () => {
  const text = JSON.stringify({
    ...withModel(nothingDesired, 'm', { ...desiredOf(switched('2'), 'm'), future: 1 } as never),
    other: true,
  })
  const next = decide(parseDesiredState(text), 'm', 'r', 'switch', {}, switchedTo('3', '2'))
  expect(next).toMatchObject({ other: true, models: { m: { future: 1, current: '3' } } })
})

test('a model named as a property of every object is one like any other', () => {
  expect(desiredOf(nothingDesired, 'constructor').history).toEqual([])
})

test('a decision that changes nothing leaves the state as it was', () => {
  const state = switched('2')
  expect(decide(state, 'm', 'r', 'canary', {}, () => undefined)).toBe(state)
})

const wrongModel = (wrong: object) => {
  const m = { revision: 1, history: [], loaded: [], labels: {}, quarantined: {}, ...wrong }
  return JSON.stringify({ format: 1, generation: 1, models: { m } })
}

test.each([
  { labels: { a: 1 } },
  { labels: { '../a': '1' } },
  { quarantined: { 2: 'slow' } },
  { canary: { version: '2', percent: 101 } },
  { canary: '2' },
  { rollout: { id: 'r', leader: 'a', stable: '1' } },
])('a model with %j is refused', (wrong) => {
  expect(() => parseDesiredState(wrongModel(wrong))).toThrow('has a wrong entry: models.m')
  expect(() => parseDesiredState(wrongModel({ labels: { a: null } }))).not.toThrow()
})

test.each([
  ['', 'is not JSON'],
  ['{"format":1,"gen', 'is not JSON'],
  ['[]', 'is no object'],
  ['{"format":2,"generation":1,"models":{}}', 'format'],
  ['{"format":1,"generation":-1,"models":{}}', 'generation'],
  ['{"format":1,"generation":1}', 'models'],
  ['{"format":1,"generation":1,"models":{"m":{"revision":1}}}', 'models.m'],
  ['{"format":1,"generation":1,"models":{"../m":{}}}', 'models...'],
  [
    '{"format":1,"generation":1,"models":{"m":{"revision":1,"history":[],"loaded":[],"labels":{},"quarantined":{"2":null}}}}',
    'models.m',
  ],
  [
    '{"format":1,"generation":1,"models":{"m":{"revision":1,"current":"../2","history":[],"loaded":[],"labels":{},"quarantined":{}}}}',
    'models.m',
  ],
])('the text %j is refused: it %s', (text, what) => {
  expect(() => parseDesiredState(text)).toThrow(
    expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(what) }),
  )
})
