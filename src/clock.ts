/** Time, as everything that waits reads it; tests give one that they move by hand. */
export interface Clock {
  /** Milliseconds from an arbitrary start, never going back. */
  now(): number
  /** Calls back once after `delayMs`. */
  setTimer(callback: () => void, delayMs: number, options?: TimerOptions): Timer
}

export interface TimerOptions {
  /** Whether the process may end while the timer is set. Default: false. */
  readonly background?: boolean
}

export interface Timer {
  clear(): void
}

/** The longest delay a timer of Node's takes. */
const maxDelayMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer: (callback, delayMs, { background = false } = {}) => {
    const timeout = setTimeout(callback, Math.min(delayMs, maxDelayMs))
    if (background) timeout.unref()
    return { clear: () => clearTimeout(timeout) }
  },
}
