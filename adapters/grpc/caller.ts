import type { Deadline } from '@grpc/grpc-js'

/** What of a call says when nobody waits for it any more. */
interface Waiting {
  readonly cancelled: boolean
  getDeadline(): Deadline
  once(event: 'cancelled', listener: () => void): unknown
}

const longestTimeoutMs = 2 ** 31 - 1

/** Who waits for a call's answer, and for how long. */
export class Caller {
  readonly #hangUp = new AbortController()
  readonly #deadlineMs: number
  #isWaiting = true
  /** Aborted where the caller gives up before its deadline: at that, the wait ends by itself. */
  readonly signal: AbortSignal = this.#hangUp.signal

  constructor(call: Waiting) {
    this.#deadlineMs = Number(call.getDeadline())
    if (call.cancelled) this.#hangUp.abort()
    // It says so at every call's end.
    call.once('cancelled', () => {
      if (this.#isWaiting && this.#leftMs > 0) this.#hangUp.abort()
    })
  }

  get #leftMs(): number {
    return this.#deadlineMs - Date.now()
  }

  /** Milliseconds until the deadline, as a request may have them; undefined where there is none. */
  get timeoutMs(): number | undefined {
    return this.#deadlineMs === Infinity ? undefined : Math.min(Math.max(1, this.#leftMs), longestTimeoutMs)
  }

  /** All that it waits for is there. */
  answered(): void {
    this.#isWaiting = false
  }
}
