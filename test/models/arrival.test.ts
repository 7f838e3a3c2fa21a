import { expect, test } from 'vitest'
import { stepFor, type Arrival } from '../../src/models/arrival.js'

const serving: Arrival = {
  names: ['4', '3', '2', '1'],
  current: { name: '2', state: 'ready' },
  wished: undefined,
  hasServed: true,
  isLazy: false,
  options: {},
}
const asleep = { name: '2', state: 'unloaded' } as const

test.each<[string, string, Partial<Arrival>, string]>([
  ['a higher version', '3', {}, 'activate'],
  ['a lower version', '1', {}, 'none'],
  ['the current version, mended', '2', {}, 'activate'],
  ['a higher version, to be loaded', '3', { options: { onNewVersion: 'load' } }, 'load'],
  ['a lower version, to be loaded', '1', { options: { onNewVersion: 'load' } }, 'load'],
  ['a higher version, to be ignored', '3', { options: { onNewVersion: 'ignore' } }, 'none'],
  ['a lower version that the policy wants', '1', { options: { versions: 'all' } }, 'load'],
  [
    'a version that the policy does not want',
    '1',
    { options: { onNewVersion: 'load', versions: { latest: 2 } } },
    'none',
  ],
  ['a version that is not on the list', '4', { options: { versions: { only: ['3'] } } }, 'none'],
  ['a version that is on the list', '3', { options: { versions: { only: ['3'] } } }, 'activate'],
  ['a higher version where another is named', '3', { wished: '2' }, 'none'],
  ['the version that is named', '1', { wished: '1' }, 'activate'],
  ['the first version', '1', { current: undefined, hasServed: false }, 'activate'],
  [
    'a first version where another is named',
    '1',
    { current: undefined, hasServed: false, wished: '2' },
    'none',
  ],
  ['a version of a model that was unloaded', '3', { current: undefined }, 'none'],
  ['a version of a lazy model that sleeps', '3', { isLazy: true, current: asleep }, 'none'],
  ['a version of a lazy model that serves', '3', { isLazy: true }, 'activate'],
])('%s (%s): %o gives %s', (_, name, difference, step) => {
  expect(stepFor(name, { ...serving, ...difference })).toBe(step)
})
