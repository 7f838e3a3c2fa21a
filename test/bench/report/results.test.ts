import { expect, test } from 'vitest'
import { Results } from '../../../bench/report/results.js'

const cell = (server: string) => ({ model: 'm', server, concurrency: 1 })
const round = (requestsPerSecond: number) => ({
  requestsPerSecond,
  p50Ms: 1,
  p99Ms: 2,
  failed: 0,
  cpuMs: 0.5,
})

test("a ratio is the median of the rounds' own, not that of the medians", () => {
  const results = new Results()
  for (const [ours, theirs] of [
    [100, 10],
    [20, 10],
    [30, 30],
  ] as const) {
    results.add(cell('ours'), round(ours))
    results.add(cell('theirs'), round(theirs))
  }
  expect(results.median(cell('ours'), 'requestsPerSecond')).toBe(30)
  expect(results.ratio(cell('ours'), cell('theirs'), 'requestsPerSecond')).toBe(2)
  expect(results.ratio(cell('ours'), cell('theirs'), 'cpuMs', 0.5)).toBe(0.5)
})

test('what was not measured is not a number', () => {
  const results = new Results()
  results.add(cell('ours'), round(1))
  expect(results.median(cell('nobody'), 'p50Ms')).toBeNaN()
  expect(results.median(cell('ours'), 'healthP99Ms')).toBeNaN()
  expect(results.ratio(cell('ours'), cell('nobody'), 'requestsPerSecond')).toBeNaN()
})
