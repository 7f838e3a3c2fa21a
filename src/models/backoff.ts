const firstDelayMs = 500
const longestDelayMs = 60_000

/** How long to wait before another attempt: twice as long after each failure, up to a minute. */
export class Backoff {
  #failures = 0

  /** Counts a failure. @returns the wait before the next attempt */
  failed(): number {
    return Math.min(longestDelayMs, firstDelayMs * 2 ** this.#failures++)
  }

  succeeded(): void {
    this.#failures = 0
  }
}
