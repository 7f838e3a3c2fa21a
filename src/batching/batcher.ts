import { systemClock, type Clock, type Timer } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { BatchRun, type BatchAnswer, type BatchRequest } from './batch-run.js'
import type { Batchable, Executor, RunContext } from './executor.js'
import { LimitsWatch, type WaitLimits } from './limits-watch.js'
import type { Urgency } from './urgency.js'
import { WaitingQueue, type Priority, type Waiting } from './waiting.js'

/** Who says when a batch may be handed over. */
export interface Turnstile {
  /** There is a batch to hand over. */
  wake(): void
  /** A batch that was handed over has ended. */
  finished(computeMs: number): void
}

/** What a turnstile lets through. */
export interface BatchSource {
  hasBatch(): boolean
  handOver(): void
}

export interface BatcherOptions {
  /** The most rows of one run; 1 keeps requests apart. Requests above it are split. Default: 1. */
  readonly maxBatchSize?: number
  /** How long an idle executor waits for more rows. Default: 0, what arrives during a run is the next batch. */
  readonly maxDelayMs?: number
  /** Rows that may wait; a request beyond is refused at once. Default: 1024. */
  readonly maxQueueRows?: number
  /** Bytes that may wait. Default: 256 MiB. */
  readonly maxQueueBytes?: number
  /** Told of each run that succeeded. */
  readonly onRun?: (rows: number, computeMs: number) => void
  readonly clock?: Clock
  /** Default: batches go through as soon as the executor has a slot. */
  readonly turnstile?: (source: BatchSource) => Turnstile
}

export interface SubmitOptions extends WaitLimits {
  /** Default: 1. */
  readonly priority?: Priority | undefined
  /** In the place of `priority`, where it may rise while the request waits. */
  readonly urgency?: Urgency | undefined
  /** Whether it shares a run with no other. Default: false. */
  readonly alone?: boolean | undefined
  /** Where the queue is full: refuse at once (default), or wait for room. */
  readonly whenFull?: 'reject' | 'wait' | undefined
}

interface Size {
  readonly rows: number
  readonly bytes: number
}

const nothing: Size = { rows: 0, bytes: 0 }

interface Request<I, R> extends Waiting, BatchRequest<I, R> {
  priority: Priority
}

/**
 * Joins requests to batches. A request meets an idle executor and runs at once; what arrives meanwhile is the next
 * batch. The queue is bounded and refuses at once; what is aborted or too late leaves it without costing a run.
 */
export class Batcher<I, R> implements BatchSource {
  readonly #executor: Executor<I, R>
  readonly #batchable: Batchable<I, R>
  readonly #options: Required<Omit<BatcherOptions, 'turnstile'>>
  readonly #turnstile: Turnstile
  readonly #limits: LimitsWatch
  readonly #waiting = new WaitingQueue<Request<I, R>>()
  readonly #runs = new Set<BatchRun<I, R>>()
  /** Requests that wait for room in the queue. */
  readonly #blocked = new Set<Request<I, R>>()
  /** Requests that were split, as long as a part of theirs is not answered: parts wait for room outside the queue. */
  readonly #parts = { rows: 0, bytes: 0 }
  #running = 0
  #sequence = 0
  #wakePlanned = false
  #delay: Timer | undefined
  #closed: ServingError | undefined

  constructor(executor: Executor<I, R>, batchable: Batchable<I, R>, options: BatcherOptions = {}) {
    const {
      maxBatchSize = 1,
      maxDelayMs = 0,
      maxQueueRows = 1024,
      maxQueueBytes = 256 * 1024 * 1024,
    } = options
    const { clock = systemClock, turnstile = freePassage, onRun = () => {} } = options
    this.#executor = executor
    this.#batchable = batchable
    this.#options = { maxBatchSize, maxDelayMs, maxQueueRows, maxQueueBytes, clock, onRun }
    this.#limits = new LimitsWatch(clock)
    this.#turnstile = turnstile(this)
  }

  /** Rows that wait, without those handed over. */
  get waitingRows(): number {
    return this.#waiting.rows
  }

  get waitingBytes(): number {
    return this.#waiting.bytes
  }

  /**
   * Runs an input with others of its signature when its turn comes; takes ownership of it.
   * @throws ServingError QUEUE_FULL at once; ABORTED or TIMEOUT as soon as the limit is met, whether its run has
   *   begun or not; what the executor throws
   */
  submit(input: I, options: SubmitOptions = {}): Promise<BatchAnswer<R>> {
    const rows = this.#batchable.rows(input)
    const { maxBatchSize } = this.#options
    if (this.#canRunNow(options)) return this.#runNow(input, rows)
    if (rows <= maxBatchSize || maxBatchSize === 1) return this.#submit(input, rows, options)
    return this.#submitInParts(input, rows, options)
  }

  /**
   * Whether a request needs no queue: there is nobody to wait for, nor to be joined by, nor a limit to watch, nor a
   * permit to be had. The queue would cost a small model more than its run.
   */
  #canRunNow({ signal, deadlineMs }: SubmitOptions): boolean {
    return (
      this.#isIdle &&
      this.#executor.width === 0 &&
      this.#executor.mayHang !== true &&
      this.#options.maxBatchSize === 1 &&
      this.#options.maxDelayMs === 0 &&
      signal === undefined &&
      deadlineMs === undefined &&
      this.#closed === undefined
    )
  }

  async #runNow(input: I, rows: number): Promise<BatchAnswer<R>> {
    this.#running++
    try {
      const { result, computeMs } = await this.#executor.run(input, neverAbandoned)
      this.#options.onRun(rows, computeMs)
      return { result, queueMs: 0, computeMs, batchRows: rows }
    } catch (error) {
      throw asServingError(error)
    } finally {
      this.#running--
      if (this.#waiting.size > 0 || this.#blocked.size > 0) {
        this.#unblock()
        this.#turnstile.finished(0)
      }
    }
  }

  #submit(input: I, rows: number, options: SubmitOptions): Promise<BatchAnswer<R>> {
    return new Promise((resolve, reject) => {
      const met = this.#closed ?? this.#limits.expired(options)
      if (met !== undefined) return reject(met)
      const { urgency } = options
      const request: Request<I, R> = {
        input,
        rows,
        bytes: this.#batchable.bytes(input),
        signature: this.#signature(input, options),
        priority: urgency?.priority ?? options.priority ?? 1,
        sequence: this.#sequence++,
        submittedAt: this.#options.clock.now(),
        startedAt: 0,
        settled: false,
        onSettled: undefined,
        settle: (answer) => {
          if (request.settled) return
          request.settled = true
          unwatch?.()
          request.onSettled?.()
          if (answer instanceof ServingError) reject(answer)
          else resolve(answer)
        },
      }
      const refusal = this.#admit(request, options.whenFull)
      if (refusal !== undefined) return reject(refusal)
      const isBounded = options.signal !== undefined || options.deadlineMs !== undefined
      const unwatch = isBounded
        ? this.#limits.watch(options, (error) => {
            this.#leave(request)
            request.settle(error)
          })
        : undefined
      urgency?.onRaised(() => this.#prefer(request, urgency.priority))
      this.#planWake()
    })
  }

  #signature(input: I, { alone = false }: SubmitOptions): string {
    if (this.#options.maxBatchSize === 1) return ''
    return alone ? `alone ${this.#sequence}` : this.#batchable.signature(input)
  }

  /** Puts a request that waits behind those of a higher priority. */
  #prefer(request: Request<I, R>, priority: Priority): void {
    const waits = this.#waiting.remove(request)
    request.priority = priority
    if (waits) this.#waiting.add(request)
  }

  /** A request above the cap, as parts that run one by one or beside each other; one that fails ends the others. */
  async #submitInParts(input: I, rows: number, options: SubmitOptions): Promise<BatchAnswer<R>> {
    const { maxBatchSize } = this.#options
    const bytes = this.#batchable.bytes(input)
    const whole = { rows, bytes }
    if (!this.#isIdle && options.whenFull !== 'wait' && !this.#hasRoom(whole, this.#parts))
      throw this.#full(rows)
    const group = new AbortController()
    const signal =
      options.signal === undefined ? group.signal : AbortSignal.any([group.signal, options.signal])
    const parts = Array.from({ length: Math.ceil(rows / maxBatchSize) }, (_, i) => {
      const part = this.#batchable.slice(input, i * maxBatchSize, Math.min(rows, (i + 1) * maxBatchSize))
      // Room was found for the whole above; what it lacks for the rest is waited for.
      return this.#submit(part, this.#batchable.rows(part), { ...options, signal, whenFull: 'wait' })
    })
    this.#parts.rows += rows
    this.#parts.bytes += bytes
    try {
      const answers = await Promise.all(parts)
      const [first] = answers
      return {
        result: this.#batchable.concatResults(answers.map((answer) => answer.result)),
        queueMs: first?.queueMs ?? 0,
        computeMs: answers.reduce((sum, answer) => sum + answer.computeMs, 0),
        batchRows: Math.max(...answers.map((answer) => answer.batchRows)),
      }
    } catch (error) {
      group.abort()
      await Promise.allSettled(parts)
      throw error
    } finally {
      this.#parts.rows -= rows
      this.#parts.bytes -= bytes
    }
  }

  get #isIdle(): boolean {
    return this.#running === 0 && this.#waiting.size === 0
  }

  /** Lets a request into the queue, or to its door; an idle executor takes any. */
  #admit(request: Request<I, R>, whenFull: SubmitOptions['whenFull']): ServingError | undefined {
    if (this.#isIdle || (this.#blocked.size === 0 && this.#hasRoom(request))) {
      this.#waiting.add(request)
      return undefined
    }
    if (whenFull !== 'wait') return this.#full(request.rows)
    this.#blocked.add(request)
    return undefined
  }

  /** @param more what is held beside the queue */
  #hasRoom({ rows, bytes }: Size, more: Size = nothing): boolean {
    const { maxQueueRows, maxQueueBytes } = this.#options
    const waiting = this.#waiting
    return (
      waiting.rows + more.rows + rows <= maxQueueRows && waiting.bytes + more.bytes + bytes <= maxQueueBytes
    )
  }

  #full(rows: number): ServingError {
    const { maxQueueRows, maxQueueBytes } = this.#options
    const held = `${this.#waiting.rows} of at most ${maxQueueRows} rows and ${this.#waiting.bytes} of at most ${maxQueueBytes} bytes`
    return new ServingError('QUEUE_FULL', `the queue holds ${held}; ${rows} more rows do not fit.`, {
      headers: { 'retry-after': '1' },
    })
  }

  #leave(request: Request<I, R>): void {
    if (!this.#blocked.delete(request) && !this.#waiting.remove(request)) return
    this.#unblock()
  }

  /** Lets requests from the door into the room there is, in their order. */
  #unblock(): void {
    for (const request of this.#blocked) {
      if (this.#waiting.size > 0 && !this.#hasRoom(request)) return
      this.#blocked.delete(request)
      this.#waiting.add(request)
    }
  }

  /** Answers all that wait with an error, and from now on every newcomer; what was handed over goes on. */
  close(error: ServingError): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.#delay?.clear()
    for (const request of [...this.#blocked, ...this.#waiting]) {
      if (!this.#blocked.delete(request)) this.#waiting.remove(request)
      request.settle(error)
    }
  }

  /** {@link close}, and answers with the error what was handed over as well: its runs are told that nobody waits. */
  cutOff(error: ServingError): void {
    this.close(error)
    for (const run of this.#runs) run.abandon(error)
  }

  /** At the end of this turn, so that requests submitted together share a batch. */
  #planWake(): void {
    if (this.#wakePlanned) return
    this.#wakePlanned = true
    queueMicrotask(() => {
      this.#wakePlanned = false
      this.#turnstile.wake()
    })
  }

  /** The executor has slots again. */
  wake(): void {
    this.#turnstile.wake()
  }

  hasBatch(): boolean {
    return this.#running < this.#executor.slots && this.#waiting.size > 0 && this.#isDue()
  }

  /** Whether the next batch is full enough, or has waited long enough; else a timer looks again. */
  #isDue(): boolean {
    const { maxDelayMs, maxBatchSize, clock } = this.#options
    if (maxDelayMs === 0 || this.#waiting.rows >= maxBatchSize) return true
    const head = this.#waiting.head()
    if (head === undefined) return false
    const restMs = head.submittedAt + maxDelayMs - clock.now()
    if (restMs <= 0) return true
    this.#delay?.clear()
    this.#delay = clock.setTimer(() => this.#turnstile.wake(), Math.ceil(restMs))
    return false
  }

  handOver(): void {
    const batch = this.#waiting.take(this.#options.maxBatchSize)
    if (batch.length === 0) return
    const now = this.#options.clock.now()
    for (const request of batch) request.startedAt = now
    this.#running++
    this.#unblock()
    const run = new BatchRun(this.#executor, this.#batchable, batch, this.#options.onRun)
    this.#runs.add(run)
    void run.run().then((computeMs) => {
      this.#runs.delete(run)
      this.#running--
      this.#unblock()
      this.#turnstile.finished(computeMs)
    })
  }
}

/** Of a run that nobody can give up. */
const neverAbandoned: RunContext = {
  get signal() {
    return new AbortController().signal
  },
}

function freePassage(source: BatchSource): Turnstile {
  const pass = () => {
    while (source.hasBatch()) source.handOver()
  }
  return { wake: pass, finished: pass }
}
