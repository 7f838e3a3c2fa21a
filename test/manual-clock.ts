import type { Clock, Timer } from '../src/clock.js'

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now = 0
  readonly #timers = new Set<{ at: number; callback: () => void }>()

  now(): number {
    return this.#now
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = { at: this.#now + delayMs, callback }
    this.#timers.add(timer)
    return { clear: () => void this.#timers.delete(timer) }
  }

  get timers(): number {
    return this.#timers.size
  }

  /** Moves on, calling each timer that falls due at its own time. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.callback()
    }
    this.#now = end
  }
}
