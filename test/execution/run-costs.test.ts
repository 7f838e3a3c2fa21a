import { describe, expect, it } from 'vitest'
import { RunCosts } from '../../src/execution/run-costs.js'

/** What is said after 64 runs, of which the i-th costs and has rows as given. */
function judged(run: (i: number) => { rows: number; computeMs: number }): number | undefined {
  const costs = new RunCosts()
  let last: number | undefined
  for (let i = 0; i < 64; i++) {
    const { rows, computeMs } = run(i)
    expect(last).toBeUndefined()
    last = costs.ofLargest(rows, computeMs)
  }
  return last
}

describe('the cost of the largest runs', () => {
  it('is what those with the most rows cost', () => {
    expect(judged((i) => (i % 4 === 0 ? { rows: 8, computeMs: 2 } : { rows: 1, computeMs: 1 }))).toBe(2)
  })

  it('is that of a quarter of the runs where fewer are larger', () => {
    expect(judged((i) => ({ rows: i, computeMs: i }))).toBe(62)
  })

  it('goes by all runs where they have as many rows', () => {
    expect(judged((i) => ({ rows: 1, computeMs: i < 7 ? 9 : 1 }))).toBe(9)
    expect(judged((i) => ({ rows: 1, computeMs: i < 6 ? 9 : 1 }))).toBe(1)
  })

  it('heeds neither one outlier nor an empty batch', () => {
    expect(judged((i) => ({ rows: i % 2, computeMs: i === 5 ? 1000 : 1 }))).toBe(1)
  })
})

describe('runs that are dear', () => {
  it('are so where more than a tenth of the last ones were, as soon as that is sure', () => {
    const costs = new RunCosts()
    const said = Array.from({ length: 9 }, () => costs.isDear(2, 1))
    expect(said).toEqual([false, false, false, false, false, false, true, true, true])
  })

  it('are not for a few among many', () => {
    const costs = new RunCosts()
    const said = Array.from({ length: 1000 }, (_, i) => costs.isDear(i % 12 === 0 ? 2 : 1, 1))
    expect(said).not.toContain(true)
  })
})
