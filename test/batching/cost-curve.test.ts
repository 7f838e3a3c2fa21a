import { describe, expect, it } from 'vitest'
import { CostCurve } from '../../src/batching/cost-curve.js'

/** Runs a curve as a queue that is never empty would, on a model whose run of n rows takes `cost(n)`. */
function learn(cost: (rows: number) => number, maxRows = 128, runs = 600): CostCurve {
  const curve = new CostCurve(maxRows)
  for (let i = 0; i < runs; i++) run(curve, cost)
  return curve
}

function run(curve: CostCurve, cost: (rows: number) => number): number {
  const rows = curve.capRows
  curve.observe(rows, cost(rows))
  return rows
}

const overhead = (rows: number) => 1 + rows / 100
const proportional = (rows: number) => 8 * rows

describe('a curve', () => {
  it('finds that batches pay where a run costs mostly the call', () => {
    const curve = learn(overhead)
    expect(curve.bestRows).toBe(128)
    expect(curve.gain).toBeGreaterThan(40)
  })

  it('leaves batching off where a row costs the same in any batch, and tries little to find out', () => {
    const curve = new CostCurve(128)
    const tried = Array.from({ length: 100 }, () => run(curve, proportional))
    expect(curve.bestRows).toBe(1)
    expect(Math.max(...tried)).toBeLessThanOrEqual(8)
    expect(tried.slice(20).every((rows) => rows === 1)).toBe(true)
  })

  it('leaves batching off where it gains less than a fifth', () => {
    expect(learn((rows) => 1.15 * rows ** 0.97).bestRows).toBe(1)
  })

  it('takes the smallest batch that is about as good as the best', () => {
    // From 16 rows on, a row costs the same.
    expect(learn((rows) => Math.max(16, rows)).bestRows).toBe(16)
  })

  it('finds the size at which rows grow dear again', () => {
    const curve = learn((rows) => 10 + rows + (rows > 32 ? (rows - 32) * 5 : 0))
    expect(curve.bestRows).toBe(32)
  })

  it('never goes beyond its bound, and never beyond a power of two of it', () => {
    const curve = new CostCurve(100)
    const tried = Array.from({ length: 300 }, () => run(curve, overhead))
    expect(Math.max(...tried)).toBe(64)
  })

  it('follows a model whose costs change', () => {
    const curve = learn(proportional)
    expect(curve.bestRows).toBe(1)
    for (let i = 0; i < 20_000 && curve.bestRows === 1; i++) run(curve, overhead)
    expect(curve.bestRows).toBeGreaterThan(1)
  })

  it('is not misled by a run that took very long', () => {
    const curve = learn(overhead)
    const before = curve.estimateMs(128) ?? NaN
    curve.observe(128, 60_000)
    expect(curve.estimateMs(128)).toBeLessThanOrEqual(before * 1.2)
  })

  it('estimates by the nearest size that it knows, and knows nothing at first', () => {
    const curve = new CostCurve(8)
    expect(curve.estimateMs(4)).toBeUndefined()
    curve.observe(1, 8)
    expect(curve.estimateMs(4)).toBe(32)
    curve.observe(4, 16)
    expect(curve.estimateMs(4)).toBe(16)
    expect(curve.estimateMs(8)).toBe(32)
  })

  describe('where each request has several rows', () => {
    /** Runs a queue of requests of so many rows that is never empty. */
    const runs = (curve: CostCurve, rows: number, count: number, cost = overhead) => {
      for (let i = 0; i < count; i++) {
        const batch = rows * Math.max(1, Math.floor(curve.capRows / rows))
        curve.observe(batch, cost(batch))
      }
    }

    it.each([2, 4, 5, 32])('finds that batches pay, of requests of %d rows', (rows) => {
      const curve = new CostCurve(128)
      runs(curve, rows, 100)
      expect(curve.bestRows).toBe(128)
      expect(curve.gain).toBeGreaterThan(2)
    })

    it('finds that they do not, and says so', () => {
      const curve = new CostCurve(128)
      runs(curve, 4, 100, proportional)
      expect(curve).toMatchObject({ isSettled: true, bestRows: 1, gain: 1 })
    })

    it.each([0, 3])(
      'does not stay with requests alone once that was reviewed, after %d of one row',
      (single) => {
        const curve = new CostCurve(128)
        runs(curve, 1, single)
        let alone = 0
        for (let i = 0; i < 3000; i++) {
          runs(curve, 4, 1)
          if (curve.capRows === 1) alone++
        }
        expect(curve.bestRows).toBeGreaterThan(32)
        expect(alone).toBeLessThan(20)
      },
    )
  })

  it('tries no batch that would take longer than a run may, and is content with what there is', () => {
    const linear = (rows: number) => 10 * rows
    const curve = new CostCurve(128, {}, 25)
    const tried = Array.from({ length: 2000 }, () => run(curve, linear))
    expect(Math.max(...tried)).toBe(2)
    expect(curve).toMatchObject({ isSettled: true, bestRows: 1 })
    const paying = new CostCurve(128, {}, 25)
    const sizes = Array.from({ length: 2000 }, () => run(paying, (rows) => 9 + rows))
    expect(Math.max(...sizes.map((rows) => 9 + rows))).toBeLessThanOrEqual(25)
    expect(paying.bestRows).toBe(4)
  })

  it('holds what another has learnt to the time that a run may take', () => {
    expect(new CostCurve(128, { 1: 1, 2: 0.5, 4: 0.25, 64: 0.2 }, 10).capRows).toBe(32)
  })

  it('goes on from what another has learnt', () => {
    const learnt = JSON.parse(JSON.stringify(learn(overhead))) as Record<string, number>
    const curve = new CostCurve(128, learnt)
    expect(curve.capRows).toBe(128)
    expect(curve.gain).toBeCloseTo(learn(overhead).gain ?? NaN, 5)
  })

  it('ignores what can not have been learnt', () => {
    const curve = new CostCurve(8, { '3': 1, x: 1, '-2': 1, '0.5': 1, '1': -1, '2': NaN })
    expect(curve.toJSON()).toEqual({})
  })
})
