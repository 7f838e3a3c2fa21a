import { asServingError, ServingError } from '../errors.js'
import type { RunResult, Session } from '../execution/session.js'
import type { Feeds } from '../tensor/tensor.js'
import { expired, watch, type WaitLimits } from './wait-limits.js'

export interface QueuedRun extends RunResult {
  /** Time from submission to the hand-over to the session. */
  readonly queueMs: number
}

interface Request {
  readonly feeds: Feeds
  readonly rows: number
  readonly queuedAt: number
  /** Answers the caller once; later answers are dropped. */
  settle: (answer: QueuedRun | ServingError) => void
}

/**
 * The bounded queue before a session: first in, first out, and at most as many handed over as the session has
 * slots, so that a request which is aborted or expires while it waits leaves without costing a run.
 */
export class RequestQueue {
  readonly #session: Session
  readonly #maxRows: number
  readonly #waiting = new Set<Request>()
  #waitingRows = 0
  #running = 0

  constructor(session: Session, maxRows: number) {
    this.#session = session
    this.#maxRows = maxRows
  }

  /** Rows that wait, without those handed to the session. */
  get waitingRows(): number {
    return this.#waitingRows
  }

  /**
   * Runs the feeds when their turn comes.
   * @throws ServingError QUEUE_FULL at once; ABORTED or TIMEOUT as soon as the limit is met, whether the run
   *   has begun or not; what {@link Session.run} throws
   */
  submit(feeds: Feeds, rows: number, limits: WaitLimits = {}): Promise<QueuedRun> {
    return new Promise((resolve, reject) => {
      const queuedAt = performance.now()
      const refusal = expired(limits, queuedAt) ?? this.#full(rows)
      if (refusal !== undefined) return reject(refusal)

      const request: Request = {
        feeds,
        rows,
        queuedAt,
        settle: (answer) => {
          forget()
          if (answer instanceof ServingError) reject(answer)
          else resolve(answer)
        },
      }
      const forget = watch(limits, queuedAt, (error) => {
        this.#leave(request)
        request.settle(error)
      })
      this.#waiting.add(request)
      this.#waitingRows += rows
      this.#dispatch()
    })
  }

  #full(rows: number): ServingError | undefined {
    const idle = this.#running === 0 && this.#waiting.size === 0
    if (idle || this.#waitingRows + rows <= this.#maxRows) return undefined
    return new ServingError(
      'QUEUE_FULL',
      `the queue holds ${this.#waitingRows} of at most ${this.#maxRows} rows; ${rows} more do not fit.`,
      { headers: { 'retry-after': '1' } },
    )
  }

  #dispatch(): void {
    while (this.#running < this.#session.slots) {
      const [request] = this.#waiting
      if (request === undefined) return
      this.#leave(request)
      this.#running++
      void this.#run(request)
    }
  }

  async #run(request: Request): Promise<void> {
    const queueMs = performance.now() - request.queuedAt
    try {
      const result = await this.#session.run(request.feeds)
      request.settle({ ...result, queueMs })
    } catch (error) {
      request.settle(asServingError(error))
    } finally {
      this.#running--
      this.#dispatch()
    }
  }

  #leave(request: Request): void {
    if (this.#waiting.delete(request)) this.#waitingRows -= request.rows
  }
}
