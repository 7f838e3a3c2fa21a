import { describe, expect, it } from 'vitest'
import { LayoutSearch, type Move } from '../../src/execution/layout-search.js'
import { threadLayouts, type Layout, type LearnedLayout } from '../../src/execution/layout.js'

const layouts = threadLayouts(8, 8)
const [one, two, four, eight] = layouts as [Layout, Layout, Layout, Layout]

/** A search whose session always has something to do. */
class Saturated {
  nowMs = 0
  readonly search: LayoutSearch

  constructor(learned?: LearnedLayout, candidates: readonly [Layout, ...Layout[]] = layouts) {
    this.search = new LayoutSearch(candidates, learned)
    this.search.entered(one, 0)
  }

  /** What is said after the warm-up and five stretches of that rate. */
  judged(rowsPerMs: number, others = 20): Move | undefined {
    for (let i = 0; i < 5; i++) expect(this.stretch(rowsPerMs, others)).toBeUndefined()
    return this.stretch(rowsPerMs, others)
  }

  stretch(rowsPerMs: number, others = 20): Move | undefined {
    this.nowMs += 250
    return this.search.observe({ rowsPerMs, others }, this.nowMs)
  }

  enter(move: Move | undefined): void {
    if (move === undefined) throw new Error('no move')
    this.search.entered(move.to, this.nowMs)
  }
}

describe('a search under saturation', () => {
  it('tries twice the sessions while that gives more, and goes back where it does not', () => {
    const load = new Saturated()
    const trial = load.judged(1)
    expect(trial).toEqual({
      to: two,
      reason: 'a trial, since 1 session of 8 threads is saturated at 1000 rows/s',
    })
    load.enter(trial)
    expect(load.judged(1.2)).toEqual({
      to: two,
      reason: 'it gives 1200 rows/s against 1000 rows/s of 1 session of 8 threads',
    })
    for (let i = 0; i < 4; i++) load.stretch(1.2)
    const next = load.stretch(1.2)
    expect(next?.to).toBe(four)
    load.enter(next)
    expect(load.judged(1.25)).toEqual({
      to: two,
      reason: '4 sessions of 2 threads gave no more: 1250 rows/s against 1200 rows/s',
      isDefeat: true,
    })
    expect(load.search.best).toBe(two)
    expect(load.search.measured.map(({ rowsPerMs }) => rowsPerMs)).toEqual([1, 1.2, 1.25])
    expect(load.search.defeated).toEqual([four])
  })

  it('goes by the median, and not by the first stretch of a layout', () => {
    const load = new Saturated()
    load.stretch(1000)
    for (const rate of [1, 90, 1, 1]) load.stretch(rate)
    expect(load.stretch(0)?.reason).toContain('1000 rows/s')
  })

  it('keeps saying that a trial is lost until it is left', () => {
    const load = new Saturated()
    load.enter(load.judged(1))
    expect(load.judged(0.9)).toMatchObject({ to: one, isDefeat: true })
    for (let i = 0; i < 4; i++) load.stretch(0.9)
    expect(load.stretch(0.9)).toMatchObject({ to: one, isDefeat: true })
  })

  it('holds what won before to less', () => {
    const load = new Saturated()
    load.enter(load.judged(1))
    expect(load.judged(1.2)?.to).toBe(two)
    const comeBack = () => {
      load.search.entered(one, load.nowMs)
      load.stretch(1.2)
      load.enter(load.stretch(1.2))
    }
    comeBack()
    expect(load.judged(0.96)).toMatchObject({ to: two })
    comeBack()
    expect(load.judged(0.94)).toMatchObject({ to: one, isDefeat: true })
    expect(load.search.best).toBe(one)
  })

  it('tries each of the others before it tries one again', () => {
    const load = new Saturated()
    for (const tried of [two, four, eight]) {
      const trial = load.judged(1)
      expect(trial?.to).toBe(tried)
      load.enter(trial)
      const back = load.judged(0.5 + tried.instances / 100)
      expect(back).toMatchObject({ to: one, isDefeat: true })
      load.enter(back)
    }
    expect(load.judged(1)?.to).toBe(eight) // which came closest
  })

  it('prefers fewer threads that get as much done, and tries the first from there too', () => {
    const spared: Layout = { placement: 'thread', instances: 1, intraOpThreads: 7 }
    const load = new Saturated(undefined, [one, spared])
    load.enter(load.judged(1))
    expect(load.judged(0.96)).toMatchObject({
      to: spared,
      reason: expect.stringContaining('it gives') as string,
    })
    const trial = (() => {
      for (let i = 0; i < 4; i++) load.stretch(0.96)
      return load.stretch(0.96)
    })()
    expect(trial?.to).toBe(one)
    load.enter(trial)
    expect(load.judged(1)).toMatchObject({ to: spared, isDefeat: true })
    load.enter({ to: spared, reason: '' })
    load.enter(load.judged(0.9))
    expect(load.judged(1)).toMatchObject({ to: one })
    expect(load.search.best).toBe(one)
  })

  it('begins with what was learnt', () => {
    const measured = [
      { ...one, rowsPerMs: 1 },
      { ...four, rowsPerMs: 2 },
      { ...eight, rowsPerMs: 1.5 },
    ]
    const { search } = new Saturated({ cores: 8, layout: four, measured })
    expect(search).toMatchObject({ best: four, measured, defeated: [eight] })
  })
})

describe('a search without saturation', () => {
  it('tries nothing, however long it runs', () => {
    const load = new Saturated()
    for (let i = 0; i < 100; i++) expect(load.stretch(1, 0.8)).toBeUndefined()
    expect(load.search.measured).toEqual([])
  })

  it('begins its judgement anew after a stretch that had idle times', () => {
    const load = new Saturated()
    for (let i = 0; i < 30; i++) expect(load.stretch(1, i % 5 === 4 ? 0 : 1)).toBeUndefined()
  })

  it('goes back to one session after ten seconds in which they were not needed', () => {
    const load = new Saturated()
    load.search.entered(four, 0)
    expect(load.search.lullInMs(0)).toBe(10_000)
    expect(load.search.lull(0, 9_999)).toBeUndefined()
    expect(load.search.lull(4, 10_000)).toBeUndefined()
    expect(load.search.lull(3, 10_000)).toEqual({
      to: one,
      reason: '4 sessions of 2 threads had little to do for 10 s',
    })
    // Of four one and a half others are enough, less are not.
    load.nowMs = 5_000
    load.stretch(1, 1.4)
    expect(load.search.lullInMs(10_000)).toBe(0)
    load.stretch(1, 1.5)
    expect(load.search.lullInMs(10_000)).toBe(5_500)
  })

  it('returns to what proved best as soon as there is always something to do again', () => {
    const load = new Saturated()
    load.enter(load.judged(1))
    expect(load.judged(1.2)?.to).toBe(two)
    load.search.entered(one, load.nowMs)
    load.stretch(1)
    expect(load.stretch(1, 0.5)).toBeUndefined()
    expect(load.stretch(1)).toEqual({
      to: two,
      reason: '1 session of 8 threads is saturated, and it gave 1200 rows/s before',
    })
  })

  it('has nowhere to go back to from one session', () => {
    expect(new Saturated().search.lull(0, 1e9)).toBeUndefined()
  })
})
