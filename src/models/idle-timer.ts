import type { Clock, Timer } from '../clock.js'

/**
 * Tells when something has not been used for some time. A use costs no timer: the one there is looks again when it
 * falls due.
 */
export class IdleTimer {
  #usedAt = -Infinity
  #timer: Timer | undefined

  /** @param onIdle called once the last use is `idleMs` ago, and not again before there was another */
  constructor(
    private readonly clock: Clock,
    private readonly idleMs: number,
    private readonly onIdle: () => void,
  ) {}

  used(): void {
    this.#usedAt = this.clock.now()
    this.#timer ??= this.#after(this.idleMs)
  }

  cancel(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }

  #after(delayMs: number): Timer {
    return this.clock.setTimer(() => this.#due(), delayMs, { background: true })
  }

  #due(): void {
    this.#timer = undefined
    const restMs = this.#usedAt + this.idleMs - this.clock.now()
    if (restMs > 0) this.#timer = this.#after(restMs)
    else this.onIdle()
  }
}
