import { RunCosts } from './run-costs.js'

/**
 * A run inline may cost as much as the hop to a thread that it saves, within these bounds, in milliseconds. Not more
 * where hops are slow: they are so on a busy machine, where a model on the event loop does most harm.
 */
const leastCheapMs = 0.05
const mostCheapMs = 0.1

/** What is dear inline, by what is cheap; apart, lest noise move a session to and fro. */
const dearFactor = 2

/** Says by what runs cost whether they are better off on the event loop. */
export class InlineChoice {
  readonly #maxRows: number
  readonly #costs: RunCosts
  /** The shortest hop seen in this window. */
  #hopMs = Infinity
  #cheapMs = leastCheapMs
  /** What a row costs at the cap, by what was measured in the thread. */
  #rowMs = 0

  /** @param maxRows rows of the largest batch that is to be expected */
  constructor(maxRows: number) {
    this.#maxRows = maxRows
    this.#costs = new RunCosts(maxRows)
  }

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
    if (hopMs !== undefined) this.#hopMs = Math.min(this.#hopMs, hopMs)
    const capMs = this.#costs.atCap(rows, computeMs)
    if (capMs === undefined) return undefined
    const hopSeenMs = Number.isFinite(this.#hopMs) ? this.#hopMs : leastCheapMs
    this.#hopMs = Infinity
    this.#cheapMs = Math.min(mostCheapMs, Math.max(leastCheapMs, hopSeenMs))
    if (capMs > this.#cheapMs) return undefined
    this.#rowMs = capMs / this.#maxRows
    return `its largest batch costs ${micros(capMs)}, less than ${micros(this.#cheapMs)} for a thread`
  }

  /** Counts a run inline. @returns why to leave */
  inline(computeMs: number): string | undefined {
    if (!this.#costs.isDear(computeMs, this.#dearMs)) return undefined
    return `too many runs cost more than ${micros(this.#dearMs)} inline`
  }

  /** @returns why not to run so many rows inline */
  tooManyRows(rows: number): string | undefined {
    if (rows <= this.#maxRows || rows * this.#rowMs <= this.#dearMs) return undefined
    return `${rows} rows would cost about ${micros(rows * this.#rowMs)} inline`
  }

  get #dearMs(): number {
    return this.#cheapMs * dearFactor
  }
}

function micros(ms: number): string {
  return `${Math.round(ms * 1000)} us`
}
