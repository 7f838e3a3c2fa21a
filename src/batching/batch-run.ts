import { asServingError, ServingError } from '../errors.js'
import { NotBegun } from '../execution/session.js'
import { Link } from '../linked-list.js'
import type { Batchable, Executor, RunContext } from './executor.js'

/** What answers a request of a batch. */
export interface BatchAnswer<R> {
  readonly result: R
  /** Time from the submission to the hand-over of its batch. */
  readonly queueMs: number
  readonly computeMs: number
  /** Rows of the batch that answered. */
  readonly batchRows: number
}

/** A request on its way through a run. */
export interface BatchRequest<I, R> {
  readonly input: I
  readonly rows: number
  readonly signature: string
  readonly submittedAt: number
  /** Whether it has its answer, or gave up waiting for one. */
  readonly settled: boolean
  /** Answers the caller; only the first call counts. */
  settle(answer: BatchAnswer<R> | ServingError): void
  /** Called once it is settled, by whatever. */
  onSettled: (() => void) | undefined
}

/** A run that succeeded. */
export interface RanBatch {
  readonly signature: string
  readonly rows: number
  readonly computeMs: number
  /** The time may hold what the event loop did before the run. */
  readonly isRough: boolean
}

/** Runs one batch of requests and gives each its own rows of the result. */
export class BatchRun<I, R> extends Link implements RunContext {
  /** Of all its requests. */
  readonly rows: number
  /** Rows that were answered with a result. */
  answeredRows = 0
  #waiting: number
  #abandoned: AbortController | undefined
  #startedAt = 0
  /** Runs that may still be spent on finding the request that makes the batch fail. */
  #searches: number

  constructor(
    private readonly executor: Executor<I, R>,
    private readonly batchable: Batchable<I, R>,
    private readonly requests: readonly BatchRequest<I, R>[],
    private readonly onRun: (ran: RanBatch) => void,
  ) {
    super()
    this.rows = rowsOf(requests)
    this.#waiting = requests.length
    this.#searches = 2 * Math.ceil(Math.log2(Math.max(1, requests.length)))
    const onSettled = () => this.#settled()
    for (const request of requests) request.onSettled = onSettled
  }

  get signal(): AbortSignal {
    this.#abandoned ??= new AbortController()
    if (this.#waiting === 0) this.#abandoned.abort()
    return this.#abandoned.signal
  }

  #settled(): void {
    if (--this.#waiting === 0) this.#abandoned?.abort()
  }

  /** Answers every request with an error, whatever the run comes to. */
  abandon(error: ServingError): void {
    for (const request of this.requests) request.settle(error)
  }

  /**
   * @param now when it was handed over, on the clock of its requests
   * @returns the time it computed, in milliseconds, also where it failed; never rejects
   */
  run(now: number): Promise<number> {
    this.#startedAt = now
    return this.#execute(this.requests)
  }

  /**
   * Runs requests and answers them. Where the run fails it is done again in halves, so that only the guilty request
   * fails: for one of n requests at most 2 log2(n) more runs. Where these don't suffice, since several are guilty, the
   * rest is run one by one.
   */
  async #execute(requests: readonly BatchRequest<I, R>[]): Promise<number> {
    const batch = requests.some(({ settled }) => settled)
      ? requests.filter(({ settled }) => !settled)
      : requests
    const [first] = batch
    if (first === undefined) return 0
    const began = performance.now()
    try {
      const input =
        batch.length === 1 ? first.input : this.batchable.concat(batch.map((request) => request.input))
      const { result, computeMs, isRough = false } = await this.executor.run(input, this)
      this.onRun({ signature: first.signature, rows: rowsOf(batch), computeMs, isRough })
      this.#answer(batch, result, computeMs)
      return computeMs
    } catch (cause) {
      const error = asServingError(cause)
      // Nobody says how long a run computed that failed. Were it for nothing, a model that fails would always go first;
      // as it waited as well, it goes rather too late.
      const failedMs = error instanceof NotBegun ? 0 : performance.now() - began
      if (batch.length > 1 && isOneRequestsFault(error)) return failedMs + (await this.#search(batch))
      for (const request of batch) request.settle(error)
      return failedMs
    }
  }

  async #search(batch: readonly BatchRequest<I, R>[]): Promise<number> {
    const parts = this.#searches > 0 ? halves(batch) : batch.map((request) => [request])
    this.#searches -= 2
    let computeMs = 0
    for (const part of parts) computeMs += await this.#execute(part)
    return computeMs
  }

  #answer(batch: readonly BatchRequest<I, R>[], result: R, computeMs: number): void {
    const batchRows = rowsOf(batch)
    this.answeredRows += batchRows
    let row = 0
    for (const request of batch) {
      const { rows, submittedAt, input } = request
      const own = batch.length === 1 ? result : this.batchable.sliceResult(result, row, (row += rows), input)
      request.settle({ result: own, queueMs: this.#startedAt - submittedAt, computeMs, batchRows })
    }
  }
}

function rowsOf(requests: readonly { readonly rows: number }[]): number {
  let rows = 0
  for (const request of requests) rows += request.rows
  return rows
}

function halves<T>(list: readonly T[]): (readonly T[])[] {
  const middle = list.length >> 1
  return [list.slice(0, middle), list.slice(middle)]
}

/** Whether a failed batch may have failed for one of its requests alone. */
function isOneRequestsFault(error: ServingError): boolean {
  return ServingError.is(error, 'INFERENCE_FAILED', 'INVALID_INPUT', 'INTERNAL')
}
