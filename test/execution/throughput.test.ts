import { describe, expect, it } from 'vitest'
import { Throughput } from '../../src/execution/throughput.js'

describe('a stretch of a session', () => {
  it('tells rows by the time in which something was under way, without that of idleness', () => {
    const throughput = new Throughput()
    for (let i = 0; i < 15; i++) {
      throughput.began(i * 1000)
      expect(throughput.ended(i * 1000 + 20, 4)).toBeUndefined()
    }
    throughput.began(99_000)
    expect(throughput.ended(99_020, 4)).toEqual({ rowsPerMs: 0.2, others: 0 })
  })

  it('is through once it had 16 runs and 250 ms, and the next begins with nothing', () => {
    const throughput = new Throughput()
    const ends: number[] = []
    throughput.began(0)
    for (let now = 10; now <= 1000; now += 10) {
      throughput.began(now)
      const stretch = throughput.ended(now, 1)
      if (stretch === undefined) continue
      ends.push(now)
      expect(stretch).toEqual({ rowsPerMs: 0.1, others: 1 })
    }
    expect(ends).toEqual([250, 500, 750, 1000])
  })

  it('counts the runs under way at the end of each, and no rows of those that failed', () => {
    const throughput = new Throughput()
    for (let i = 0; i < 16; i++) throughput.began(0)
    expect(throughput.running).toBe(16)
    for (let i = 1; i < 16; i++) throughput.ended(i * 20, i % 2)
    expect(throughput.ended(320, 0)).toEqual({ rowsPerMs: 8 / 320, others: 7.5 })
    expect(throughput.running).toBe(0)
  })
})
