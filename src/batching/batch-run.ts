import { asServingError, ServingError } from '../errors.js'
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
  readonly submittedAt: number
  startedAt: number
  /** Whether it has its answer, or gave up waiting for one. */
  settled: boolean
  /** Answers the caller; only the first call counts. */
  settle(answer: BatchAnswer<R> | ServingError): void
  /** Called once it is settled, by whatever. */
  onSettled: (() => void) | undefined
}

/** Runs one batch of requests and gives each its own rows of the result. */
export class BatchRun<I, R> implements RunContext {
  #waiting: number
  #abandoned: AbortController | undefined

  constructor(
    private readonly executor: Executor<I, R>,
    private readonly batchable: Batchable<I, R>,
    private readonly requests: readonly BatchRequest<I, R>[],
    private readonly onRun: (rows: number, computeMs: number) => void,
  ) {
    this.#waiting = requests.length
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

  /** @returns the time it computed, in milliseconds; never rejects */
  run(): Promise<number> {
    return this.#execute(this.requests)
  }

  /**
   * Runs requests and answers them. Where the run fails it is done again in halves, so that only the guilty request
   * fails: for one of n requests at most 2 log2(n) more runs.
   */
  async #execute(requests: readonly BatchRequest<I, R>[]): Promise<number> {
    const batch = requests.filter((request) => !request.settled)
    const [first] = batch
    if (first === undefined) return 0
    try {
      const input =
        batch.length === 1 ? first.input : this.batchable.concat(batch.map((request) => request.input))
      const { result, computeMs } = await this.executor.run(input, this)
      this.#answer(batch, result, computeMs)
      return computeMs
    } catch (cause) {
      const error = asServingError(cause)
      if (batch.length > 1 && isOneRequestsFault(error)) {
        const middle = batch.length >> 1
        return (await this.#execute(batch.slice(0, middle))) + (await this.#execute(batch.slice(middle)))
      }
      for (const request of batch) request.settle(error)
      return 0
    }
  }

  #answer(batch: readonly BatchRequest<I, R>[], result: R, computeMs: number): void {
    const batchRows = batch.reduce((sum, request) => sum + request.rows, 0)
    this.onRun(batchRows, computeMs)
    let row = 0
    for (const request of batch) {
      const { rows, submittedAt, startedAt } = request
      const own = batch.length === 1 ? result : this.batchable.sliceResult(result, row, (row += rows))
      request.settle({ result: own, queueMs: startedAt - submittedAt, computeMs, batchRows })
    }
  }
}

/** Whether a failed batch may have failed for one of its requests alone. */
function isOneRequestsFault(error: ServingError): boolean {
  return ServingError.is(error, 'INFERENCE_FAILED', 'INVALID_INPUT', 'INTERNAL')
}
