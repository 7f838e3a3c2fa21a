import { describe, expect, it } from 'vitest'
import { RunCosts } from '../../src/execution/run-costs.js'

/** What is said after 64 runs, of which the i-th costs and has rows as given. */
function judged(
  maxRows: number,
  run: (i: number) => { rows: number; computeMs: number },
): number | undefined {
  const costs = new RunCosts(maxRows)
  let last: number | undefined
  for (let i = 0; i < 64; i++) {
    const { rows, computeMs } = run(i)
    expect(last).toBeUndefined()
    last = costs.atCap(rows, computeMs)
  }
  return last
}

describe('the cost at the row cap', () => {
  it('is what runs of that many rows cost', () => {
    expect(judged(8, () => ({ rows: 8, computeMs: 0.25 }))).toBe(0.25)
  })

  it('follows from smaller ones in proportion, as the most it can be', () => {
    expect(judged(8, () => ({ rows: 2, computeMs: 0.25 }))).toBe(1)
  })

  it('goes by the runs with the most rows where they differ', () => {
    expect(judged(8, (i) => (i % 4 === 0 ? { rows: 8, computeMs: 2 } : { rows: 1, computeMs: 1 }))).toBe(2)
  })

  it('of larger runs than the cap is theirs', () => {
    expect(judged(1, () => ({ rows: 100, computeMs: 3 }))).toBe(3)
  })

  it('goes by all runs where they have as many rows', () => {
    expect(judged(1, (i) => ({ rows: 1, computeMs: i < 7 ? 9 : 1 }))).toBe(9)
    expect(judged(1, (i) => ({ rows: 1, computeMs: i < 6 ? 9 : 1 }))).toBe(1)
  })

  it('heeds neither one outlier nor an empty batch', () => {
    expect(judged(1, (i) => ({ rows: i % 2, computeMs: i === 5 ? 1000 : 1 }))).toBe(1)
  })
})

describe('runs that are dear', () => {
  it('are so where more than a tenth of the last ones were, as soon as that is sure', () => {
    const costs = new RunCosts(1)
    const said = Array.from({ length: 9 }, () => costs.isDear(2, 1))
    expect(said).toEqual([false, false, false, false, false, false, true, true, true])
  })

  it('are not for a few among many', () => {
    const costs = new RunCosts(1)
    const said = Array.from({ length: 1000 }, (_, i) => costs.isDear(i % 12 === 0 ? 2 : 1, 1))
    expect(said).not.toContain(true)
  })
})
