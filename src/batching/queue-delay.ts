import type { Clock, Timer } from '../clock.js'
import { margin } from './admission.js'
import type { BatchPlan } from './batch-plan.js'

/** What a timer may be late by, and a batch takes to its executor and back, where a deadline is near. */
const handOverMs = 5

/** What waits, as far as its delay goes. */
export interface DelayedRequest {
  readonly signature: string
  readonly rowElements: number
  readonly submittedAt: number
  /** When whoever asks wants the answer by, whether it is given up then or not. */
  readonly wantedByMs: number | undefined
}

export interface DelayedQueue extends Iterable<DelayedRequest> {
  readonly rows: number
  head(): DelayedRequest | undefined
}

export interface QueueDelayOptions {
  readonly maxDelayMs: number
  readonly maxBatchElements: number
  readonly clock: Clock
}

/** How long an idle executor waits for more rows: until the batch is full, or its time is over, or a deadline near. */
export class QueueDelay {
  readonly #waiting: DelayedQueue
  readonly #plan: BatchPlan
  readonly #options: QueueDelayOptions
  readonly #wake: () => void
  #timer: Timer | undefined

  /** @param wake called when it may be over */
  constructor(waiting: DelayedQueue, plan: BatchPlan, options: QueueDelayOptions, wake: () => void) {
    this.#waiting = waiting
    this.#plan = plan
    this.#options = options
    this.#wake = wake
  }

  /** Whether the next batch is full enough, or has waited long enough; else a timer looks again. */
  isOver(): boolean {
    const { maxDelayMs, maxBatchElements, clock } = this.#options
    if (maxDelayMs === 0) return true
    const head = this.#waiting.head()
    if (head === undefined) return false
    const { rows } = this.#waiting
    const capRows = this.#plan.capRows(head.signature)
    if (rows >= capRows || rows * head.rowElements >= maxBatchElements) return true
    const restMs = Math.min(head.submittedAt + maxDelayMs, this.#latestStart()) - clock.now()
    if (restMs <= 0) return true
    this.forget()
    this.#timer = clock.setTimer(this.#wake, Math.ceil(restMs))
    return false
  }

  /** When a run of what waits has to begin for each to meet its deadline, as far as is known what it costs. */
  #latestStart(): number {
    let latest = Infinity
    for (const { wantedByMs, signature } of this.#waiting) {
      if (wantedByMs === undefined) continue
      const runMs = this.#plan.estimateMs(signature, this.#waiting.rows) ?? Infinity
      latest = Math.min(latest, wantedByMs - runMs * margin - handOverMs)
    }
    return latest
  }

  /** Looks no more: a batch goes, or nothing waits. */
  forget(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }
}
