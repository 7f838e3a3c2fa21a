import { expect, it, test } from 'vitest'
import { eligible, versionPolicyField, wanted } from '../../src/models/version-policy.js'

const names = ['3', '2', '1']

test.each([
  [undefined, []],
  ['all' as const, ['3', '2', '1']],
  [{ latest: 2 }, ['3', '2']],
  [{ latest: 9 }, ['3', '2', '1']],
  [{ only: ['1', '7'] }, ['1']],
])('of the versions 3, 2 and 1 the policy %j wants %j', (policy, expected) => {
  expect(wanted(policy, names)).toEqual(expected)
})

it('only the versions of an exact list may serve by themselves', () => {
  expect(eligible({ only: ['1', '2'] }, names)).toEqual(['2', '1'])
  expect(eligible({ latest: 1 }, names)).toEqual(names)
  expect(eligible(undefined, names)).toEqual(names)
})

test.each([['all'], [{ latest: 1 }], [{ only: ['a'] }]])('%j is a policy', (policy) => {
  expect(versionPolicyField.accepts(policy)).toBe(true)
})

test.each([
  ['latest'],
  [{}],
  [{ latest: 0 }],
  [{ latest: 1.5 }],
  [{ only: [] }],
  [{ only: ['a', 'a'] }],
  [{ only: [1] }],
  [{ latest: 1, only: ['a'] }],
  [null],
])('%j is no policy', (policy) => {
  expect(versionPolicyField.accepts(policy)).toBe(false)
})
