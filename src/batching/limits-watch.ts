import { ServingError } from '../errors.js'
import type { Clock, Timer } from '../clock.js'
import { Link, LinkedList } from '../linked-list.js'
import type { Demand } from './demand.js'

/** What bounds a request's wait; all optional. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined
  /** On the clock of whoever watches. */
  readonly deadlineMs?: number | undefined
  /** In the place of `signal`, of what several wait for. */
  readonly demand?: Demand | undefined
}

type OnLimit = (error: ServingError) => void

/** Whom to tell of one limit. */
class Watcher extends Link {
  constructor(
    readonly onLimit: OnLimit,
    readonly deadlineMs = Infinity,
  ) {
    super()
  }
}

/**
 * Watches the limits of many requests with one timer, and one listener on a signal that many share
 * (`AbortSignal.any` and a listener each cost microseconds, and an 11th listener warns).
 */
export class LimitsWatch {
  readonly #clock: Clock
  readonly #deadlines = new LinkedList<Watcher>()
  #timer: Timer | undefined
  #timerAt = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The error of a limit that is met already. */
  expired({ signal, deadlineMs, demand }: WaitLimits): ServingError | undefined {
    if (signal?.aborted === true) return aborted(signal)
    if (demand?.isWanted === false) return abandoned()
    return deadlineMs !== undefined && this.#clock.now() >= deadlineMs ? timedOut() : undefined
  }

  /** Calls `onLimit` once when a limit is met, unless the returned function was called before. */
  watch({ signal, deadlineMs, demand }: WaitLimits, onLimit: OnLimit): () => void {
    let isWatched = true
    demand?.listen({
      abandoned: () => {
        if (isWatched) onLimit(abandoned())
      },
    })
    const bySignal = signal && listen(signal, onLimit)
    const byDeadline = deadlineMs === undefined ? undefined : new Watcher(onLimit, deadlineMs)
    if (byDeadline !== undefined) {
      this.#deadlines.add(byDeadline)
      this.#arm(byDeadline.deadlineMs)
    }
    return () => {
      isWatched = false
      if (signal !== undefined && bySignal !== undefined) unlisten(signal, bySignal)
      if (byDeadline !== undefined) this.#forget(byDeadline)
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
    for (const watcher of [...this.#deadlines]) {
      if (watcher.deadlineMs > now) next = Math.min(next, watcher.deadlineMs)
      else if (this.#deadlines.remove(watcher)) watcher.onLimit(timedOut())
    }
    if (next < Infinity) this.#arm(next)
  }

  #forget(watcher: Watcher): void {
    this.#deadlines.remove(watcher)
    if (this.#deadlines.size > 0) return
    this.#timer?.clear()
    this.#timerAt = Infinity
  }
}

/** Whom to tell of a signal's abort. */
const listeners = new WeakMap<AbortSignal, LinkedList<Watcher>>()

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

function listenersOf(signal: AbortSignal): LinkedList<Watcher> {
  let waiting = listeners.get(signal)
  if (waiting === undefined) {
    listeners.set(signal, (waiting = new LinkedList()))
    signal.addEventListener('abort', onAbort, { once: true })
  }
  return waiting
}

function listen(signal: AbortSignal, onLimit: OnLimit): Watcher {
  const watcher = new Watcher(onLimit)
  listenersOf(signal).add(watcher)
  return watcher
}

function unlisten(signal: AbortSignal, watcher: Watcher): void {
  const waiting = listeners.get(signal)
  waiting?.remove(watcher)
  if (waiting?.size !== 0 || keptSignals.has(signal)) return
  listeners.delete(signal)
  signal.removeEventListener('abort', onAbort)
}

function onAbort(event: Event): void {
  const signal = event.target as AbortSignal
  const waiting = listeners.get(signal) ?? []
  listeners.delete(signal)
  for (const { onLimit } of [...waiting]) onLimit(aborted(signal))
}

function aborted(signal: AbortSignal): ServingError {
  return new ServingError('ABORTED', 'the request was aborted by its caller', { cause: signal.reason })
}

function abandoned(): ServingError {
  return new ServingError('ABORTED', 'the request was aborted by all who waited for its answer')
}

function timedOut(): ServingError {
  return new ServingError('TIMEOUT', 'the deadline passed before the answer was there')
}
