import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConstantArrivals } from '../../../bench/load/arrivals.js'

test('requests start at equal distances, the first at once', () => {
  const arrivals = new ConstantArrivals(200, 2)
  expect(arrivals.total).toBe(400)
  expect([0, 1, 200].map((index) => arrivals.startMs(index))).toEqual([0, 5, 1000])
})

test('what is due does not depend on when one looks', () => {
  const arrivals = new ConstantArrivals(200, 2)
  expect([0, 4.9, 5, 12, 1999, 1e6].map((elapsedMs) => arrivals.dueBy(elapsedMs))).toEqual([
    1, 1, 2, 3, 400, 400,
  ])
})

test('a request is due once its start has passed, and not before', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1e4 }),
      fc.double({ min: 0, max: 1e4, noNaN: true }),
      (rate, elapsedMs) => {
        const arrivals = new ConstantArrivals(rate, 20)
        const due = arrivals.dueBy(elapsedMs)
        expect(arrivals.startMs(due - 1)).toBeLessThanOrEqual(elapsedMs + 1e-6)
        expect(arrivals.startMs(due)).toBeGreaterThan(elapsedMs - 1e-6)
      },
    ),
  )
})
