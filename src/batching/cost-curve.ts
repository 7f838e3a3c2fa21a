/** How much of a cost the newest run is. */
const newestShare = 1 / 8

/** A run may count for so many times what is known: beyond, another process had the core, or memory was collected. */
const mostSurprise = 2

/** Runs after which a size is known well enough to go by. */
const enoughRuns = 3

/** Batches this large are tried whatever smaller ones gain: kernels differ between one row and a few. */
const alwaysTriedRows = 4

/** A size twice as large is tried where the last doubling gained this much a row. */
const worthDoubling = 1.05

/** A smaller size is as good where a row costs at most this much of the best. */
const asGood = 1.05

/** Where batches gain less than this a row, they only add latency: rows are run one by one. */
const worthBatching = 1.2

/** Of so many runs one is of a size that is not the best, so that a judgement does not outlive what it was made of. */
const reviewEvery = 512

/** What runs of about one size cost. */
interface Size {
  rowMs: number
  runs: number
}

/** What a curve has learnt, as plain JSON: the milliseconds a row costs, by the rows of a run. */
export type LearntCosts = Readonly<Record<string, number>>

/**
 * What runs of a model cost by their rows, learnt from the runs themselves, and the batch size that pays.
 *
 * Sizes are powers of two, which stand for those between. It begins with requests alone, single rows where there are
 * such, and tries twice as many rows as long as a row grows cheaper. The best size is the smallest at which a row costs
 * about as little as at any; where that is less than 1.2 times as good as requests alone, batching only adds latency,
 * and the best is 1.
 */
export class CostCurve {
  /** A power of two. */
  readonly #maxRows: number
  readonly #longestRunMs: number
  /** By the exponent of two; with holes. */
  readonly #sizes: (Size | undefined)[] = []
  #best = 1
  #untilReview = reviewEvery

  /**
   * @param learnt what another curve had learnt; entries that are no costs are ignored
   * @param longestRunMs no run of several rows is to take longer, as far as that can be told. Default: any time.
   */
  constructor(maxRows: number, learnt: LearntCosts = {}, longestRunMs = Infinity) {
    this.#maxRows = 2 ** Math.floor(Math.log2(maxRows))
    this.#longestRunMs = longestRunMs
    for (const [rows, rowMs] of Object.entries(learnt)) {
      const size = Math.log2(Number(rows))
      if (Number.isInteger(size) && size >= 0 && rowMs > 0) {
        this.#sizes[size] = { rowMs, runs: enoughRuns }
      }
    }
    this.#judge()
  }

  /** The rows that a batch should have at most now: the best, or a number that is to be tried, or tried again. */
  get capRows(): number {
    const untried = this.#untried()
    if (untried !== undefined) return untried
    if (this.#untilReview > 0) return this.#inTime(this.#best)
    return this.#best === 1 ? this.#inTime(Math.min(alwaysTriedRows << this.#least, this.#maxRows)) : 1
  }

  /** The most rows of any run, by its time. */
  get mostRows(): number {
    return this.#inTime(this.#maxRows)
  }

  /** At most so many rows, and as many as a run may have by its time. */
  #inTime(rows: number): number {
    while (rows > 1 && (this.estimateMs(rows) ?? 0) > this.#longestRunMs) rows /= 2
    return rows
  }

  /** Whether all sizes that promise something were tried. */
  get isSettled(): boolean {
    return this.#untried() === undefined
  }

  /** The rows of a batch that pay: 1 where batching does not. */
  get bestRows(): number {
    return this.#best
  }

  /** How many times as many rows a batch of {@link bestRows} gives in the time of requests alone; undefined at first. */
  get gain(): number | undefined {
    const alone = this.#known(this.#least)
    const best = this.#best === 1 ? alone : this.#known(sizeOf(this.#best))
    return alone === undefined || best === undefined ? undefined : alone / best
  }

  /** What a run of so many rows will cost, in milliseconds; undefined while nothing like it was seen. */
  estimateMs(rows: number): number | undefined {
    const wanted = sizeOf(rows)
    let nearest: Size | undefined
    for (let size = 0; size < this.#sizes.length; size++) {
      const seen = this.#sizes[size]
      if (seen !== undefined && (nearest === undefined || size <= wanted)) nearest = seen
    }
    return nearest === undefined ? undefined : nearest.rowMs * rows
  }

  observe(rows: number, computeMs: number): void {
    if (!(computeMs > 0) || rows < 1) return
    const size = sizeOf(rows)
    const rowMs = computeMs / rows
    const seen = this.#sizes[size]
    if (seen === undefined) this.#sizes[size] = { rowMs, runs: 1 }
    else {
      // The first runs are an average, since the very first may hold what only a first one does.
      const share = Math.max(newestShare, 1 / (seen.runs + 1))
      const surprise = seen.runs < enoughRuns ? rowMs : Math.min(rowMs, seen.rowMs * mostSurprise)
      seen.rowMs += (surprise - seen.rowMs) * share
      seen.runs++
    }
    this.#untilReview = this.#isReview(size) ? reviewEvery : this.#untilReview - 1
    this.#judge()
  }

  /** What was learnt, to be given to another curve of the same model. */
  toJSON(): LearntCosts {
    const learnt: Record<string, number> = {}
    this.#sizes.forEach((_, size) => {
      const rowMs = this.#known(size)
      if (rowMs !== undefined) learnt[2 ** size] = rowMs
    })
    return learnt
  }

  /** Whether a run is of the other kind than those that were found best. */
  #isReview(size: number): boolean {
    if (this.#best === 1) return size > this.#least
    // Requests alone may have several rows by now; until a review is due, it is the least that it waits for.
    return this.#untilReview > 0 ? size <= this.#least : size < sizeOf(this.#best)
  }

  /** The smallest size that is known, that of requests alone: where each has several rows, there is none of one. */
  get #least(): number {
    const least = this.#sizes.findIndex((_, size) => this.#known(size) !== undefined)
    return Math.max(0, least)
  }

  #known(size: number): number | undefined {
    const seen = this.#sizes[size]
    return seen !== undefined && seen.runs >= enoughRuns ? seen.rowMs : undefined
  }

  /** The next size to learn about, where the last one promises something. */
  #untried(): number | undefined {
    const least = this.#least
    const largest = this.#sizes.findLastIndex((_, size) => this.#known(size) !== undefined)
    let before: number | undefined
    for (let size = least; 2 ** size <= this.#maxRows; size++) {
      const own = this.#known(size)
      if (own === undefined) {
        // Where larger runs are known, requests come so that this one may never be.
        if (size < largest) continue
        return this.#inTime(2 ** size) === 2 ** size ? 2 ** size : undefined
      }
      const gained = before === undefined || before / own >= worthDoubling
      if (!gained && 2 ** size >= alwaysTriedRows << least) return undefined
      before = own
    }
    return undefined
  }

  #judge(): void {
    this.#best = 1
    const alone = this.#known(this.#least)
    if (alone === undefined) return
    let least = alone
    for (let size = 1; 2 ** size <= this.#maxRows; size++) least = Math.min(least, this.#known(size) ?? least)
    if (alone / least < worthBatching) return
    let best = this.#least
    while ((this.#known(best) ?? Infinity) > least * asGood) best++
    this.#best = 2 ** best
  }
}

/** The exponent of the power of two that stands for so many rows: the next above. */
function sizeOf(rows: number): number {
  return Math.ceil(Math.log2(rows))
}
