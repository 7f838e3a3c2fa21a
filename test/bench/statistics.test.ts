import { expect, test } from 'vitest'
import { median, percentile } from '../../bench/statistics.js'

test('a median is the middle number, or between the two in the middle', () => {
  expect(median([5, 1, 3])).toBe(3)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([7])).toBe(7)
  expect(median([])).toBeNaN()
})

test('a percentile is one of the numbers, by nearest rank, whatever their order', () => {
  const numbers = Array.from({ length: 100 }, (_, i) => 100 - i)
  expect(percentile(numbers, 50)).toBe(50)
  expect(percentile(numbers, 99)).toBe(99)
  expect(percentile(numbers, 100)).toBe(100)
  expect(percentile([10, 9, 2], 99)).toBe(10)
  expect(percentile([10, 9, 2], 1)).toBe(2)
  expect(percentile([], 99)).toBeNaN()
})

test('neither changes what it is given', () => {
  const numbers = [3, 1, 2]
  median(numbers)
  percentile(numbers, 50)
  expect(numbers).toEqual([3, 1, 2])
})
