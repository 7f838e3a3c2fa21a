import { RunCosts } from './run-costs.js'

/**
 * A run inline may cost as much as the hop to a thread that it saves, within these bounds, in milliseconds. Not more
 * where hops are slow: they are so on a busy machine, where a model on the event loop does most harm.
 */
const leastCheapMs = 0.05
const mostCheapMs = 0.1

/** What is dear inline, by what is cheap; apart, lest noise move a session to and fro. */
const dearFactor = 2

/**
 * Says by what runs cost whether they are better off on the event loop. It goes by the runs that come: batches grow
 * as long as they pay, and once they cost too much for the event loop, that shows after a few of them.
 */
export class InlineChoice {
  readonly #costs = new RunCosts()
  /** The shortest hop seen in this window. */
  #hopMs = Infinity
  #cheapMs = leastCheapMs
  /** Of all runs so far, the least that one of the most rows cost. */
  #largest = { rows: 0, computeMs: 0 }

  /** Forgets what runs cost at the place before. */
  clear(): void {
    this.#costs.clear()
    this.#hopMs = Infinity
  }

  /**
   * Counts a run in a thread.
   * @param hopMs what the way there and back took, where no other run was under way
   * @returns why to move inline
   */
  inThread(rows: number, computeMs: number, hopMs: number | undefined): string | undefined {
    this.#seen(rows, computeMs)
    if (hopMs !== undefined) this.#hopMs = Math.min(this.#hopMs, hopMs)
    const largestMs = this.#costs.ofLargest(rows, computeMs)
    if (largestMs === undefined) return undefined
    const hopSeenMs = Number.isFinite(this.#hopMs) ? this.#hopMs : leastCheapMs
    this.#hopMs = Infinity
    this.#cheapMs = Math.min(mostCheapMs, Math.max(leastCheapMs, hopSeenMs))
    if (largestMs > this.#cheapMs) return undefined
    return `its largest batches cost ${micros(largestMs)}, no more than ${micros(this.#cheapMs)} for a thread`
  }

  /** Counts a run inline. @returns why to leave */
  inline(rows: number, computeMs: number): string | undefined {
    this.#seen(rows, computeMs)
    if (!this.#costs.isDear(computeMs, this.#dearMs)) return undefined
    return `too many runs cost more than ${micros(this.#dearMs)} inline`
  }

  /** @returns why not to run so many rows inline: more than any run had, which would cost too much in proportion */
  tooManyRows(rows: number): string | undefined {
    const { rows: most, computeMs } = this.#largest
    if (rows <= most || most === 0) return undefined
    const costMs = (computeMs / most) * rows
    return costMs > this.#dearMs ? `${rows} rows would cost up to ${micros(costMs)} inline` : undefined
  }

  #seen(rows: number, computeMs: number): void {
    const { rows: most, computeMs: leastMs } = this.#largest
    if (rows > most || (rows === most && computeMs < leastMs)) this.#largest = { rows, computeMs }
  }

  get #dearMs(): number {
    return this.#cheapMs * dearFactor
  }
}

function micros(ms: number): string {
  return `${Math.round(ms * 1000)} us`
}
