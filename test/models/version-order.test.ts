import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compareVersions } from '../../src/models/version-order.js'

const sorted = (...names: string[]) => names.sort(compareVersions)

it('numbers sort as numbers', () => {
  expect(sorted('10', '9', '1')).toEqual(['1', '9', '10'])
  expect(sorted('20240101120000000000', '20240101120000000001')).toEqual([
    '20240101120000000000',
    '20240101120000000001',
  ])
})

it('semantic versions sort by their rules, a pre-release before its release', () => {
  expect(
    sorted('1.0.0', '1.0.0-rc.1', '1.0.0-alpha', '1.0.0-rc.10', '1.0.0-rc.2', '1.10.0', '1.9.0'),
  ).toEqual(['1.0.0-alpha', '1.0.0-rc.1', '1.0.0-rc.2', '1.0.0-rc.10', '1.0.0', '1.9.0', '1.10.0'])
  expect(sorted('v2.0', 'v1.0')).toEqual(['v1.0', 'v2.0'])
})

it('other names come before version numbers, as text', () => {
  expect(sorted('2', 'candidate', 'baseline', '1')).toEqual(['baseline', 'candidate', '1', '2'])
})

it('is a total order over any names', () => {
  const name = fc.oneof(fc.stringMatching(/^v?\d{1,3}(\.\d{1,2}){0,2}(-[a-z0-9]{1,2}(\.\d)?)?$/), fc.string())
  fc.assert(
    fc.property(name, name, name, (a, b, c) => {
      expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0)
      if (compareVersions(a, b) === 0) expect(a).toBe(b)
      const [first = '', , last = ''] = [a, b, c].sort(compareVersions)
      expect(compareVersions(first, last)).toBeLessThanOrEqual(0)
    }),
  )
})
