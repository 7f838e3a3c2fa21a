import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { Admission, type QueueBounds, type Size } from './admission.js'
import { BatchPlan } from './batch-plan.js'
import { BatchRun, type BatchAnswer, type RanBatch } from './batch-run.js'
import { DrainRate } from './drain-rate.js'
import type { Batchable, Executor, RunContext } from './executor.js'
import { LinkedList } from '../linked-list.js'
import { LimitsWatch, type WaitLimits } from './limits-watch.js'
import { QueueDelay } from './queue-delay.js'
import { QueuedRequest } from './queued-request.js'
import { PartsToCome, submitInParts } from './request-parts.js'
import { freePassage, type BatchSource, type Turnstile } from './turnstile.js'
import { WaitingQueue, type Priority } from './waiting.js'

export interface BatcherOptions {
  /** The most rows of one run; 1 keeps requests apart. Requests above it are split. Default: 1. */
  readonly maxBatchSize?: number
  /** In the place of `maxBatchSize`, where batches are to be as large as pays. */
  readonly plan?: BatchPlan
  /** How long an idle executor waits for more rows. Default: 0, what arrives during a run is the next batch. */
  readonly maxDelayMs?: number
  /** The most elements of one run: its rows times those of its longest row. Default: as many as its rows have. */
  readonly maxBatchElements?: number
  /** What is named as the one that refuses an input. Default: none is. */
  readonly label?: string
  /** Rows that may wait, and of a request that is not split; one beyond is refused at once. Default: 1024. */
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
  /** Default: 1; that of `demand`, where there is one, which may rise. */
  readonly priority?: Priority | undefined
  /** Refuses what can't be answered by then, on the batcher's clock, but gives nothing up later. Default: `deadlineMs`. */
  readonly wantedByMs?: number | undefined
  /** On whose behalf: those who wait share the runs among them. Default: all are one. */
  readonly tenant?: string | undefined
  /** Whether it shares a run with no other. Default: false. */
  readonly alone?: boolean | undefined
  /** Where the queue is full: refuse at once (default), or wait for room. */
  readonly whenFull?: 'reject' | 'wait' | undefined
}

interface EnqueueOptions extends SubmitOptions {
  /** Whether it is part of a request that was let in as a whole, and needs no room of its own. Default: false. */
  readonly isLetIn?: boolean
}

/**
 * Joins requests to batches. A request meets an idle executor and runs at once; what arrives meanwhile is the next
 * batch. The queue is bounded, and refuses at once; what is aborted or too late leaves it without costing a run.
 */
export class Batcher<I, R> implements BatchSource {
  readonly #executor: Executor<I, R>
  readonly #batchable: Batchable<I, R>
  readonly #plan: BatchPlan
  readonly #maxDelayMs: number
  readonly #maxBatchElements: number
  readonly #mostRows: number
  readonly #label: string
  readonly #onRun: (rows: number, computeMs: number) => void
  readonly #clock: Clock
  readonly #turnstile: Turnstile
  readonly #limits: LimitsWatch
  readonly #waiting = new WaitingQueue<QueuedRequest<I, R>>()
  readonly #delay: QueueDelay
  readonly #rate = new DrainRate()
  readonly #admission: Admission
  readonly #runs = new LinkedList<BatchRun<I, R>>()
  /** Requests that wait for room in the queue. */
  readonly #blocked = new Set<QueuedRequest<I, R>>()
  /** What is still to come into the queue of requests that were split, and were let in as there was room for them. */
  readonly #parts = new PartsToCome()
  #running = 0
  #runningRows = 0
  /** Rows of the batch that was handed over last. */
  #lastRows = 0
  #sequence = 0
  #wakePlanned = false
  #closed: ServingError | undefined

  constructor(executor: Executor<I, R>, batchable: Batchable<I, R>, options: BatcherOptions = {}) {
    const { maxBatchSize = 1, plan = new BatchPlan({ maxBatchSize }), maxDelayMs = 0 } = options
    const { maxBatchElements = Infinity, onRun = () => {} } = options
    const { maxQueueRows = 1024, maxQueueBytes = 256 * 1024 * 1024 } = options
    const { clock = systemClock, turnstile = freePassage, label } = options
    const bounds: QueueBounds = { maxQueueRows, maxQueueBytes }
    this.#executor = executor
    this.#batchable = batchable
    this.#plan = plan
    this.#maxDelayMs = maxDelayMs
    this.#maxBatchElements = maxBatchElements
    this.#mostRows = maxQueueRows
    this.#label = label === undefined ? '' : `${label}: `
    this.#onRun = onRun
    this.#clock = clock
    this.#admission = new Admission(this.#waiting, bounds, plan, this.#rate)
    this.#limits = new LimitsWatch(clock)
    this.#delay = new QueueDelay(this.#waiting, plan, { maxDelayMs, maxBatchElements, clock }, () =>
      this.wake(),
    )
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
   * @throws ServingError QUEUE_FULL, OVERLOADED or INVALID_INPUT at once; ABORTED or TIMEOUT as soon as the limit is met, whether its
   *   run has begun or not; what the executor throws
   */
  submit(input: I, options: SubmitOptions = {}): Promise<BatchAnswer<R>> {
    const rows = this.#batchable.rows(input)
    const partRows = rows > 1 ? this.#partRows(input) : 1
    if (rows > partRows) return this.#submitInParts(input, rows, partRows, options)
    if (rows > this.#mostRows && partRows === Infinity) return Promise.reject(this.#tooManyRows(rows))
    return this.#canRunNow(options) ? this.#runNow(input, rows) : this.#enqueue(input, rows, options)
  }

  /** The most rows of an input that are one run, above which it is split; one row always is. */
  #partRows(input: I): number {
    if (this.#plan.maxRows === 1) return Infinity
    const maxRows = this.#plan.partRows(this.#batchable.signature(input))
    if (this.#maxBatchElements === Infinity) return maxRows
    const rowElements = this.#batchable.rowElements(input)
    return Math.max(1, Math.min(maxRows, Math.floor(this.#maxBatchElements / rowElements)))
  }

  /**
   * Whether a request needs no queue: there is nobody to wait for, nor likely to be joined by, nor a limit to watch,
   * nor a permit to be had. The queue would cost a small model more than its run.
   */
  #canRunNow({ signal, deadlineMs }: SubmitOptions): boolean {
    return (
      this.#isIdle &&
      this.#executor.width === 0 &&
      this.#executor.mayHang !== true &&
      (this.#lastRows <= 1 || this.#plan.maxRows === 1) &&
      this.#maxDelayMs === 0 &&
      signal === undefined &&
      deadlineMs === undefined &&
      this.#closed === undefined
    )
  }

  /** Of one run, which nothing could end, nor anybody overtake. */
  #tooManyRows(rows: number): ServingError {
    const most = `${this.#mostRows} (maxQueueRows)`
    return new ServingError(
      'INVALID_INPUT',
      `${this.#label}the input has ${rows} rows; without batching, which would split it, at most ${most} may come in one request.`,
    )
  }

  async #runNow(input: I, rows: number): Promise<BatchAnswer<R>> {
    this.#running++
    this.#runningRows += rows
    try {
      const { result, computeMs, isRough } = await this.#executor.run(input, neverAbandoned)
      if (isRough !== true && this.#plan.mayBatch) {
        this.#plan.observe(this.#batchable.signature(input), rows, computeMs)
      }
      this.#onRun(rows, computeMs)
      return { result, queueMs: 0, computeMs, batchRows: rows }
    } catch (error) {
      throw asServingError(error)
    } finally {
      this.#running--
      this.#runningRows -= rows
      if (this.#waiting.size > 0 || this.#blocked.size > 0) {
        this.#unblock()
        this.#turnstile.finished(0)
      }
    }
  }

  #enqueue(input: I, rows: number, options: EnqueueOptions): Promise<BatchAnswer<R>> {
    return new Promise((resolve, reject) => {
      const met = this.#closed ?? this.#limits.expired(options)
      if (met !== undefined) return reject(met)
      const { demand, signal, deadlineMs, wantedByMs = deadlineMs } = options
      const request = new QueuedRequest<I, R>(resolve, reject, {
        input,
        rows,
        bytes: this.#batchable.bytes(input),
        rowElements: this.#batchable.rowElements(input),
        signature: this.#signature(input, options),
        priority: demand?.priority ?? options.priority ?? 1,
        tenant: options.tenant ?? '',
        sequence: this.#sequence++,
        submittedAt: this.#clock.now(),
        deadlineMs,
        wantedByMs,
      })
      const refusal = this.#admit(request, options)
      if (refusal !== undefined) return reject(refusal)
      if (signal !== undefined || deadlineMs !== undefined || demand !== undefined) {
        request.unwatch = this.#limits.watch(options, (error) => {
          this.#leave(request)
          request.settle(error)
        })
      }
      demand?.listen({ raised: () => this.#prefer(request, demand.priority) })
      this.#planWake()
    })
  }

  #signature(input: I, { alone = false }: SubmitOptions): string {
    if (!this.#plan.mayBatch) return ''
    return alone ? `alone ${this.#sequence}` : this.#batchable.signature(input)
  }

  /** Puts a request that waits behind those of a higher priority. */
  #prefer(request: QueuedRequest<I, R>, priority: Priority): void {
    const waits = this.#waiting.remove(request)
    request.priority = priority
    if (waits) this.#waiting.add(request)
  }

  async #submitInParts(
    input: I,
    rows: number,
    partRows: number,
    options: SubmitOptions,
  ): Promise<BatchAnswer<R>> {
    const whole: Size = { rows, bytes: this.#batchable.bytes(input) }
    const late = this.#lateAsWhole(input, whole, options)
    if (late !== undefined) throw late
    const isIdle = this.#isIdle
    const isLetIn = isIdle || this.#hasRoom(whole)
    if (!isLetIn && options.whenFull !== 'wait') throw this.#admission.full(rows, this.#parts)
    // Nobody is refused for the rest of one that an idle executor took, nor for one that waits at the door.
    const toCome = this.#parts.add(isLetIn && !isIdle ? whole : undefined)
    // One part waits while others run: more would fill the queue.
    const atOnce = this.#executor.slots + 1
    try {
      return await submitInParts(this.#batchable, input, { ...options, partRows, atOnce }, (part, limits) => {
        const size: Size = { rows: this.#batchable.rows(part), bytes: this.#batchable.bytes(part) }
        toCome.came(size)
        return this.#enqueue(part, size.rows, { ...options, ...limits, whenFull: 'wait', isLetIn })
      })
    } finally {
      toCome.end()
    }
  }

  #lateAsWhole(input: I, whole: Size, options: SubmitOptions): ServingError | undefined {
    const { deadlineMs, wantedByMs: dueMs = deadlineMs, demand, priority = 1 } = options
    if (dueMs === undefined) return undefined
    const candidate = {
      ...whole,
      signature: this.#signature(input, options),
      priority: demand?.priority ?? priority,
      submittedAt: this.#clock.now(),
    }
    return this.#admission.late(candidate, dueMs, this.#runningRows)
  }

  get #isIdle(): boolean {
    return this.#running === 0 && this.#waiting.size === 0
  }

  /** Lets a request into the queue, or to its door; an idle executor takes any. */
  #admit(request: QueuedRequest<I, R>, options: EnqueueOptions): ServingError | undefined {
    const { whenFull, isLetIn = false } = options
    const isIdle = this.#isIdle
    const { wantedByMs } = request
    if (!isIdle && wantedByMs !== undefined) {
      const late = this.#admission.late(request, wantedByMs, this.#runningRows)
      if (late !== undefined) return late
    }
    if (isIdle || isLetIn || this.#hasRoom(request)) {
      this.#waiting.add(request)
      return undefined
    }
    if (whenFull !== 'wait') return this.#admission.full(request.rows, this.#parts)
    this.#blocked.add(request)
    return undefined
  }

  /** Whether there is room for a newcomer: those at the door go before. */
  #hasRoom(size: Size): boolean {
    return this.#blocked.size === 0 && this.#admission.hasRoom(size, this.#parts)
  }

  #leave(request: QueuedRequest<I, R>): void {
    if (!this.#blocked.delete(request) && !this.#waiting.remove(request)) return
    this.#unblock()
    if (this.#waiting.size === 0) this.#delay.forget()
  }

  /** Lets requests from the door into the room there is, in their order. */
  #unblock(): void {
    for (const request of this.#blocked) {
      if (this.#waiting.size > 0 && !this.#admission.hasRoom(request, this.#parts)) return
      this.#blocked.delete(request)
      this.#waiting.add(request)
    }
  }

  /** Answers all that wait with an error, and from now on every newcomer; what was handed over goes on. */
  close(error: ServingError): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.#delay.forget()
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
    return this.#running < this.#executor.slots && this.#waiting.size > 0 && this.#delay.isOver()
  }

  handOver(): void {
    this.#delay.forget()
    const batch = this.#waiting.take((signature) => ({
      maxRows: this.#plan.capRows(signature),
      maxElements: this.#maxBatchElements,
    }))
    const now = this.#clock.now()
    const run = new BatchRun(this.#executor, this.#batchable, this.#inTime(batch, now), (ran) =>
      this.#ran(ran),
    )
    this.#lastRows = run.rows
    if (this.#running++ === 0) this.#rate.began(now)
    this.#runningRows += run.rows
    this.#runs.add(run)
    this.#unblock()
    void run.run(now).then((computeMs) => {
      this.#runs.remove(run)
      this.#running--
      this.#runningRows -= run.rows
      this.#unblock()
      this.#rate.ended(run.answeredRows, this.#clock.now(), this.#running > 0 || this.#waiting.size > 0)
      this.#turnstile.finished(computeMs)
    })
  }

  #ran({ rows, computeMs, isRough, signature }: RanBatch): void {
    if (!isRough) this.#plan.observe(signature, rows, computeMs)
    this.#onRun(rows, computeMs)
  }

  /** Those of a batch that can still meet their deadlines, where others wait that could use the run. */
  #inTime(batch: QueuedRequest<I, R>[], now: number): QueuedRequest<I, R>[] {
    const [first] = batch
    if (first === undefined || this.#waiting.size === 0) return batch
    const rows = batch.reduce((sum, request) => sum + request.rows, 0)
    const end = now + (this.#plan.estimateMs(first.signature, rows) ?? 0)
    if (batch.every(({ deadlineMs = Infinity }) => deadlineMs >= end)) return batch
    return batch.filter((request) => {
      if ((request.deadlineMs ?? Infinity) >= end) return true
      request.settle(new ServingError('TIMEOUT', 'the deadline would pass before the answer is there'))
      return false
    })
  }
}

/** Of a run that nobody can give up. */
const neverAbandoned: RunContext = {
  get signal() {
    return new AbortController().signal
  },
}
