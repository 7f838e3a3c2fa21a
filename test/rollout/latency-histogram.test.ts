import { expect, test } from 'vitest'
import { LatencyHistogram } from '../../src/rollout/latency-histogram.js'

test('a quantile is within bounds that are 2.2 % apart', () => {
  const histogram = new LatencyHistogram()
  for (let ms = 1; ms <= 1000; ms++) histogram.observe(ms)
  for (const quantile of [0.5, 0.9, 0.95, 0.999, 1]) {
    const { least, most } = histogram.quantileMs(quantile)
    expect(least).toBeLessThanOrEqual(1000 * quantile)
    expect(most).toBeGreaterThanOrEqual(1000 * quantile)
    expect(most / least).toBeLessThan(1.022)
  }
})

test('counts what surely took longer, and what may have', () => {
  const histogram = new LatencyHistogram()
  for (let ms = 1; ms <= 1000; ms++) histogram.observe(ms)
  expect(histogram.surelyBeyond(500)).toBeLessThanOrEqual(500)
  expect(histogram.surelyBeyond(500)).toBeGreaterThan(488)
  expect(histogram.possiblyBeyond(500)).toBeGreaterThanOrEqual(500)
  expect(histogram.possiblyBeyond(500)).toBeLessThan(512)
})

test('takes any latency, and gives nothing of none', () => {
  const histogram = new LatencyHistogram()
  expect(histogram.quantileMs(0.5).most).toBeNaN()
  for (const ms of [0, -1, NaN, Infinity, 1e12]) histogram.observe(ms)
  expect(histogram.total).toBe(5)
  expect(histogram.surelyBeyond(1)).toBe(2)
})

test('the sum of two is that of all their requests, through JSON', () => {
  const [one, other, both] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()]
  for (let ms = 1; ms <= 100; ms++) {
    ;(ms % 3 === 0 ? one : other).observe(ms)
    both.observe(ms)
  }
  one.add(JSON.parse(JSON.stringify(other)))
  expect(one.toJSON()).toEqual(both.toJSON())
  expect(one.total).toBe(100)
})
