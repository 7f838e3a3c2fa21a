import { expect, test } from 'vitest'
import { compareOutcomes } from '../../src/models/agreement.js'

const cyclic = () => {
  const list: unknown[] = [1]
  list.push(list)
  return list
}

test.each([
  ['equal classes', 'yes', 'yes', true, undefined],
  ['other classes', 'yes', 'no', false, undefined],
  ['numbers within the tolerance', 0.5, 0.5004, true, 0.0004],
  ['numbers beyond it', 0.5, 0.502, false, 0.002],
  ['large numbers within their part of it', 10_000, 10_009, true, 9],
  ['large numbers beyond it', 10_000, 10_011, false, 11],
  ['NaN twice', NaN, NaN, true, 0],
  ['NaN once', 1, NaN, false, undefined],
  ['infinity once', 1, Infinity, false, undefined],
  ['big integers', 5n, 7n, false, 2],
  ['lists, by their worst number', [[1, 2], [3]], [[1, 2.5], [3.1]], false, 0.5],
  ['lists of other lengths', [1, 2], [1], false, 0],
  ['typed arrays', Float32Array.of(1, 2), Float32Array.of(1, 2), true, 0],
  ['a typed array and a list', Float32Array.of(1, 2), [1, 2], true, 0],
  ['objects, in any order', { a: 1, b: 'x' }, { b: 'x', a: 1 }, true, 0],
  ['objects of other keys', { a: 1 }, { b: 1 }, false, undefined],
  ['a number and its text', 1, '1', false, undefined],
  ['nothing and null', undefined, null, false, undefined],
  ['truths', [true, false], [true, true], false, undefined],
])('%s', (_, expected, actual, agree, distance) => {
  const found = compareOutcomes({ prediction: expected }, { prediction: actual })
  expect(found.agree).toBe(agree)
  if (distance === undefined) expect(found.distance).toBeUndefined()
  else expect(found.distance).toBeCloseTo(distance, 9)
})

test('classifications agree by their class, and are as far apart as their scores', () => {
  const one = { prediction: 'yes', confidence: 0.9, scores: { yes: 0.9, no: 0.1 } }
  const other = { prediction: 'yes', confidence: 0.6, scores: { yes: 0.6, no: 0.4 } }
  const { agree, distance } = compareOutcomes(one, other)
  expect(agree).toBe(true)
  expect(distance).toBeCloseTo(0.3, 9)
})

test('the tolerance is as stated', () => {
  const [one, other] = [{ prediction: 1 }, { prediction: 1.1 }]
  expect(compareOutcomes(one, other, { tolerance: 0.2 }).agree).toBe(true)
  expect(compareOutcomes(one, other, { tolerance: 0 }).agree).toBe(false)
})

test('what lies in itself is compared to an end', () => {
  expect(compareOutcomes({ prediction: cyclic() }, { prediction: cyclic() }).agree).toBe(false)
})
