/** How much of what was counted before still counts after another run. */
const kept = 15 / 16

/**
 * How fast a queue drains while it is never empty, whatever it is that bounds it: the model, its instances, other
 * models on the same cores, the event loop. Counted from the end of one run to the end of the next.
 */
export class DrainRate {
  #rows = 0
  #ms = 0
  /** When the last run ended, where others were under way or waited. */
  #lastEnd: number | undefined
  /** When the last run ended, or the one under way began. */
  #lastProgress = 0

  /** Milliseconds that the queue takes for a row; undefined while it was never busy. */
  get rowMs(): number | undefined {
    return this.#rows === 0 ? undefined : this.#ms / this.#rows
  }

  /** How long the queue has been at what it is at now, in milliseconds. */
  sinceProgressMs(now: number): number {
    return now - this.#lastProgress
  }

  /** A run has begun, and none was under way. */
  began(now: number): void {
    this.#lastProgress = now
  }

  /**
   * A run has ended.
   * @param rows those that it answered: none where it failed
   * @param isBusy whether others are under way, or wait
   */
  ended(rows: number, now: number, isBusy: boolean): void {
    const tookMs = now - (this.#lastEnd ?? this.#lastProgress)
    if (this.#lastEnd !== undefined || this.#disproves(rows, tookMs)) {
      this.#rows = this.#rows * kept + rows
      this.#ms = this.#ms * kept + tookMs
    }
    this.#lastEnd = isBusy ? now : undefined
    this.#lastProgress = now
  }

  /**
   * Whether a run that met an idle queue took less than was known. It says little of a queue that is busy, but that one
   * is no slower; and where slow times have every request refused that would make it busy, nothing else says so.
   */
  #disproves(rows: number, tookMs: number): boolean {
    const known = this.rowMs
    return known !== undefined && tookMs < known * rows
  }
}
