export interface BackoffOptions {
  /** The wait after the first failure, in milliseconds. Default: 500. */
  readonly firstMs?: number
  /** The longest wait, in milliseconds. Default: 60,000. */
  readonly longestMs?: number
}

/** How long to wait before another attempt: twice as long after each failure. */
export class Backoff {
  readonly #firstMs: number
  readonly #longestMs: number
  #failures = 0

  constructor({ firstMs = 500, longestMs = 60_000 }: BackoffOptions = {}) {
    this.#firstMs = firstMs
    this.#longestMs = longestMs
  }

  /** Counts a failure. @returns the wait before the next attempt, in milliseconds */
  failed(): number {
    return Math.min(this.#longestMs, this.#firstMs * 2 ** this.#failures++)
  }

  succeeded(): void {
    this.#failures = 0
  }
}
