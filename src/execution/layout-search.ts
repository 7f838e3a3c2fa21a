import {
  describeLayout,
  isSameLayout,
  type Layout,
  type LearnedLayout,
  type MeasuredLayout,
} from './layout.js'
import type { Stretch } from './throughput.js'

/** A layout to move to, or the present one, where that has proved itself. */
export interface Move {
  readonly to: Layout
  /** What was measured; goes on from the layout's name. */
  readonly reason: string
  /** Whether the present layout has proved worse, and is not to be tried again soon. */
  readonly isDefeat?: boolean
}

/** Stretches one after another that a judgement rests on. */
const judgedStretches = 5

/** Runs beside the one that ended, from which on there is always something to do. */
const saturatedOthers = 0.9

/**
 * A layout must be better by so much: two sessions cost twice the memory, and noise is no gain. One of fewer threads may
 * be worse by as much, for what it leaves to all else.
 */
const leastGain = 1.05

/** After so long without need of its sessions there is one again, which answers a lone request soonest. */
const lullMs = 10_000

/** The layout that is tried, and what the one before gave. */
interface Trial {
  readonly before: number
  readonly rowsPerMs: number
}

/**
 * Finds the layout of threads that gets most done under load, by trying: while the session always has something to do,
 * each of the others in turn, kept where it gives more rows a millisecond; back to the first, which answers a lone request
 * soonest, where the load is gone.
 *
 * Rows by the wall are compared, not the time in the runtime: sessions beside each other contend for memory and
 * caches, and hops and batches of another size count too. What won before is held to less, so that noise does not
 * overturn it.
 */
export class LayoutSearch {
  readonly #layouts: readonly [Layout, ...Layout[]]
  /** By index of the layout. */
  readonly #rates: (number | undefined)[]
  /** The index of the one that proved better than the others so far. */
  #best = 0
  #at = 0
  #trial: Trial | undefined
  /** Where a trial that was lost leads back to: that one is not judged anew. */
  #backTo: number | undefined
  /** What is to be tried next. */
  #next: number | undefined
  #recent: number[] = []
  /** The first stretch at a layout is its warm-up. */
  #isWarm = false
  #neededAtMs = -Infinity

  /** @param learned what is known beforehand */
  constructor(layouts: readonly [Layout, ...Layout[]], learned?: LearnedLayout) {
    this.#layouts = layouts
    this.#rates = layouts.map(
      (layout) => learned?.measured.find((measured) => isSameLayout(measured, layout))?.rowsPerMs,
    )
    if (learned !== undefined) this.#best = Math.max(0, this.#indexOf(learned.layout))
  }

  /** The best so far. */
  get best(): Layout {
    return this.#layout(this.#best)
  }

  get measured(): MeasuredLayout[] {
    return this.#layouts.flatMap((layout, i) => {
      const rowsPerMs = this.#rates[i]
      return rowsPerMs === undefined ? [] : [{ ...layout, rowsPerMs }]
    })
  }

  /** Those that were tried, and are no better than {@link best}. */
  get defeated(): Layout[] {
    return this.#layouts.filter((_, i) => i > 0 && i !== this.#best && this.#rates[i] !== undefined)
  }

  /** The session runs in this layout from now on. Not for one inline. */
  entered(layout: Layout, nowMs: number): void {
    const before = this.#at
    const rowsPerMs = this.#rates[before]
    this.#at = Math.max(0, this.#indexOf(layout))
    // The first is returned to where the load is gone, which is no trial.
    const mayBeTrial = this.#at === this.#next || (this.#at > 0 && this.#at !== this.#backTo)
    const isTrial = mayBeTrial && this.#at !== before
    this.#trial = isTrial && rowsPerMs !== undefined ? { before, rowsPerMs } : undefined
    this.#backTo = this.#next = undefined
    this.#recent = []
    this.#isWarm = false
    this.#neededAtMs = nowMs
  }

  /** Counts what was done in the present layout. */
  observe({ rowsPerMs, others }: Stretch, nowMs: number): Move | undefined {
    if (others >= (this.#layout(this.#at).instances - 1) / 2) this.#neededAtMs = nowMs
    if (!this.#isWarm) {
      this.#isWarm = true
      return undefined
    }
    if (others < saturatedOthers) {
      this.#recent = []
      return undefined
    }
    if (this.#trial === undefined && this.#best !== this.#at) return this.#return()
    this.#recent.push(rowsPerMs)
    if (this.#recent.length < judgedStretches) return undefined
    const rate = median(this.#recent)
    this.#recent = []
    this.#rates[this.#at] = rate
    return this.#trial === undefined ? this.#nextTrial(rate) : this.#judge(this.#trial, rate)
  }

  /** Back to what proved best before a lull, and is judged anew there. */
  #return(): Move {
    const rate = this.#rates[this.#best] ?? 0
    return { to: this.best, reason: `${this.#present} is saturated, and it gave ${perSecond(rate)} before` }
  }

  /** The next that was never tried, else the one that came closest. */
  #nextTrial(rate: number): Move | undefined {
    // To the first it returns by itself where the load is gone; but from fewer threads, which may bear any load.
    const mayBeFirst = threadsOf(this.#layout(this.#at)) < threadsOf(this.#layouts[0])
    const others = this.#layouts.map((_, i) => i).filter((i) => i !== this.#at && (i > 0 || mayBeFirst))
    const untried = others.find((i) => this.#rates[i] === undefined)
    const [closest] = others.toSorted((a, b) => (this.#rates[b] ?? 0) - (this.#rates[a] ?? 0))
    const next = (this.#next = untried ?? closest)
    if (next === undefined) return undefined
    return {
      to: this.#layout(next),
      reason: `a trial, since ${this.#present} is saturated at ${perSecond(rate)}`,
    }
  }

  #judge({ before, rowsPerMs }: Trial, rate: number): Move {
    const isLeaner = threadsOf(this.#layout(this.#at)) < threadsOf(this.#layout(before))
    const needed = this.#best === this.#at || isLeaner ? 1 / leastGain : leastGain
    const isBetter = rate > rowsPerMs * needed
    const figures = `${perSecond(rate)} against ${perSecond(rowsPerMs)}`
    if (!isBetter) {
      // The trial goes on until it is left: the way back may fail at first.
      if (this.#best === this.#at) this.#best = before
      this.#backTo = before
      return {
        to: this.#layout(before),
        reason: `${this.#present} gave no more: ${figures}`,
        isDefeat: true,
      }
    }
    this.#trial = undefined
    this.#best = this.#at
    return {
      to: this.#layout(this.#at),
      reason: `it gives ${figures} of ${describeLayout(this.#layout(before))}`,
    }
  }

  /**
   * Whether the sessions of the present layout were not needed for a while.
   * @param running runs under way
   */
  lull(running: number, nowMs: number): Move | undefined {
    const isNeeded = running >= this.#layout(this.#at).instances
    if (this.#at === 0 || isNeeded || this.lullInMs(nowMs) > 0) return undefined
    return { to: this.#layouts[0], reason: `${this.#present} had little to do for ${lullMs / 1000} s` }
  }

  /** Milliseconds until a lull is to be looked for. */
  lullInMs(nowMs: number): number {
    return this.#neededAtMs + lullMs - nowMs
  }

  get #present(): string {
    return describeLayout(this.#layout(this.#at))
  }

  #layout(i: number): Layout {
    return this.#layouts[i] ?? this.#layouts[0]
  }

  #indexOf(layout: Layout): number {
    return this.#layouts.findIndex((candidate) => isSameLayout(candidate, layout))
  }
}

function threadsOf({ instances, intraOpThreads }: Layout): number {
  return instances * intraOpThreads
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0
}

function perSecond(rowsPerMs: number): string {
  return `${Number((rowsPerMs * 1000).toPrecision(3))} rows/s`
}
