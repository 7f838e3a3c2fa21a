import { Backoff } from './backoff.js'
import type { Clock, Timer } from './clock.js'

/** A success of this age ends a series of failures: one that fails again soon after each success waits longer. */
export const settledAfterMs = 60_000

/** Tries something again after each failure, with a growing wait, until it succeeds or is given up. */
export class Retry {
  readonly #backoff = new Backoff()
  readonly #clock: Clock
  readonly #attempt: () => void
  #timer: Timer | undefined
  #at = 0
  #succeededAt: number | undefined

  constructor(clock: Clock, attempt: () => void) {
    this.#clock = clock
    this.#attempt = attempt
  }

  /** Milliseconds until the next attempt may begin; 0 where none is waited for. */
  get waitMs(): number {
    return Math.max(0, this.#at - this.#clock.now())
  }

  /** Whether another attempt comes by itself. */
  get isPlanned(): boolean {
    return this.#timer !== undefined
  }

  /** @param byItself whether to attempt at the end of the wait, or leave that to who asks for `waitMs` */
  failed(byItself: boolean): void {
    if (this.#succeededAt !== undefined && this.#clock.now() - this.#succeededAt >= settledAfterMs) {
      this.#backoff.succeeded()
    }
    this.#succeededAt = undefined
    const delayMs = this.#backoff.failed()
    this.#at = this.#clock.now() + delayMs
    this.#timer?.clear()
    this.#timer = byItself ? this.#clock.setTimer(this.#attempt, delayMs, { background: true }) : undefined
  }

  succeeded(): void {
    this.#succeededAt = this.#clock.now()
    this.cancel()
  }

  /** Makes no further attempt by itself. */
  cancel(): void {
    this.#timer?.clear()
    this.#timer = undefined
    this.#at = 0
  }
}
