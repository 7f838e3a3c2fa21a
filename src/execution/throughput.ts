/** What a session got done over a stretch of its busy time. */
export interface Stretch {
  readonly rowsPerMs: number
  /** How many others were under way when a run ended, on average; below 1 there is not always something to do. */
  readonly others: number
}

/** A stretch is long enough for the pauses of memory collection, and for the last run to weigh little. */
const shortestMs = 250
const fewestRuns = 16

/**
 * Measures rows by the time in which at least one run is under way, and tells of each stretch once it is through.
 * Waits between sessions and the threads of others count; times of idleness do not.
 */
export class Throughput {
  #running = 0
  #since = 0
  #busyMs = 0
  #rows = 0
  #runs = 0
  #others = 0

  /** Runs under way. */
  get running(): number {
    return this.#running
  }

  began(nowMs: number): void {
    if (this.#running++ === 0) this.#since = nowMs
  }

  /** @param rows 0 where the run failed */
  ended(nowMs: number, rows: number): Stretch | undefined {
    this.#busyMs += nowMs - this.#since
    this.#since = nowMs
    this.#rows += rows
    this.#runs++
    this.#others += --this.#running
    if (this.#runs < fewestRuns || this.#busyMs < shortestMs) return undefined
    const stretch = { rowsPerMs: this.#rows / this.#busyMs, others: this.#others / this.#runs }
    this.#busyMs = this.#rows = this.#runs = this.#others = 0
    return stretch
  }
}
