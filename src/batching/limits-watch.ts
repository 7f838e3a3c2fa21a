import { ServingError } from '../errors.js'
import type { Clock, Timer } from '../clock.js'

/** What bounds a request's wait; all optional. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined
  /** On the clock of whoever watches. */
  readonly deadlineMs?: number | undefined
}

type OnLimit = (error: ServingError) => void

/**
 * Watches the limits of many requests with one timer, and one listener on a signal that many share
 * (`AbortSignal.any` and a listener each cost microseconds, and an 11th listener warns).
 */
export class LimitsWatch {
  readonly #clock: Clock
  readonly #deadlines = new Map<OnLimit, number>()
  #timer: Timer | undefined
  #timerAt = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The error of a limit that is met already. */
  expired({ signal, deadlineMs }: WaitLimits): ServingError | undefined {
    if (signal?.aborted === true) return aborted(signal)
    return deadlineMs !== undefined && this.#clock.now() >= deadlineMs ? timedOut() : undefined
  }

  /** Calls `onLimit` once when a limit is met, unless the returned function was called before. */
  watch({ signal, deadlineMs }: WaitLimits, onLimit: OnLimit): () => void {
    if (signal !== undefined) listenersOf(signal).add(onLimit)
    if (deadlineMs !== undefined) {
      this.#deadlines.set(onLimit, deadlineMs)
      this.#arm(deadlineMs)
    }
    return () => {
      if (signal !== undefined) unlisten(signal, onLimit)
      if (deadlineMs !== undefined) this.#forget(onLimit)
    }
  }

  #arm(deadlineMs: number): void {
    if (deadlineMs >= this.#timerAt) return
    this.#timer?.clear()
    this.#timerAt = deadlineMs
    // Not before the deadline: a timer may fire a fraction of a millisecond early.
    this.#timer = this.#clock.setTimer(() => this.#expire(), Math.ceil(deadlineMs - this.#clock.now()))
  }

  #expire(): void {
    this.#timerAt = Infinity
    const now = this.#clock.now()
    let next = Infinity
    for (const [onLimit, deadlineMs] of this.#deadlines) {
      if (deadlineMs > now) next = Math.min(next, deadlineMs)
      else if (this.#deadlines.delete(onLimit)) onLimit(timedOut())
    }
    if (next < Infinity) this.#arm(next)
  }

  #forget(onLimit: OnLimit): void {
    this.#deadlines.delete(onLimit)
    if (this.#deadlines.size > 0) return
    this.#timer?.clear()
    this.#timerAt = Infinity
  }
}

/** Whom to tell of a signal's abort. */
const listeners = new WeakMap<AbortSignal, Set<OnLimit>>()

/** Signals that many requests have one after another: their listener stays. */
const keptSignals = new WeakSet<AbortSignal>()

/**
 * Listens to a signal from now on, for one that is made for many requests, and is gone with them: coming and going of
 * the listener would cost each of them a microsecond.
 */
export function listenForGood(signal: AbortSignal): void {
  keptSignals.add(signal)
  listenersOf(signal)
}

function listenersOf(signal: AbortSignal): Set<OnLimit> {
  let waiting = listeners.get(signal)
  if (waiting === undefined) {
    listeners.set(signal, (waiting = new Set()))
    signal.addEventListener('abort', onAbort, { once: true })
  }
  return waiting
}

function unlisten(signal: AbortSignal, onLimit: OnLimit): void {
  const waiting = listeners.get(signal)
  waiting?.delete(onLimit)
  if (waiting?.size !== 0 || keptSignals.has(signal)) return
  listeners.delete(signal)
  signal.removeEventListener('abort', onAbort)
}

function onAbort(event: Event): void {
  const signal = event.target as AbortSignal
  const waiting = listeners.get(signal) ?? []
  listeners.delete(signal)
  for (const onLimit of waiting) onLimit(aborted(signal))
}

function aborted(signal: AbortSignal): ServingError {
  return new ServingError('ABORTED', 'the request was aborted by its caller', { cause: signal.reason })
}

function timedOut(): ServingError {
  return new ServingError('TIMEOUT', 'the deadline passed before the answer was there')
}
