/** Runs that a judgement rests on. */
const windowRuns = 64

/** Of these, so many with the most rows, and all that have as many, tell what the largest cost. */
const largestRuns = windowRuns / 4

/** The share of runs that may cost more without being heeded: another process had the core, or memory was collected. */
const outliers = 1 / 10

interface RunCost {
  readonly rows: number
  readonly computeMs: number
}

/** What the last runs of a session cost. */
export class RunCosts {
  #runs: RunCost[] = []
  #dear = 0
  #judged = 0

  clear(): void {
    this.#runs = []
    this.#dear = this.#judged = 0
  }

  /**
   * Counts a run, and after each {@link windowRuns} of them says what those with the most rows cost at most: the 90th
   * percentile.
   *
   * @returns milliseconds; undefined while too few runs were seen
   */
  ofLargest(rows: number, computeMs: number): number | undefined {
    this.#runs.push({ rows, computeMs })
    if (this.#runs.length < windowRuns) return undefined
    const rowCounts = this.#runs.map((run) => run.rows).sort((a, b) => b - a)
    const many = rowCounts[largestRuns - 1] ?? 0
    const costs = this.#runs
      .filter((run) => run.rows >= many)
      .map((run) => run.computeMs)
      .sort((a, b) => a - b)
    this.#runs = []
    return costs[Math.ceil((1 - outliers) * costs.length) - 1]
  }

  /**
   * Counts a run. @returns whether more than a tenth of the last runs really took longer than `limitMs`; known before
   * all of the window's runs are through
   */
  isDear(computeMs: number, limitMs: number): boolean {
    if (this.#judged++ === windowRuns) [this.#judged, this.#dear] = [1, 0]
    if (computeMs > limitMs) this.#dear++
    return this.#dear > windowRuns * outliers
  }
}
