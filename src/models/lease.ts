import type { BatchAnswer } from '../batching/batch-run.js'
import type { Batcher } from '../batching/batcher.js'
import type { PredictionCache } from '../cache/prediction-cache.js'
import type { LoadedModel, RequestCodec } from './loaded-model.js'
import type { PipelineLimits } from './pipeline-runs.js'

/** An answer that the cache keeps: a result, and what it weighs. */
export interface KeptAnswer {
  readonly result: unknown
  readonly bytes: number
  readonly queueMs: number
  readonly computeMs: number
  readonly batchRows: number
  /** Of a pipeline, where a stage's answer was not the one asked for. */
  readonly degraded?: 'stale' | 'fallback' | undefined
}

/** What answers encoded inputs: the batcher before a session or the user's code, or the runs of a pipeline. */
export type Queue = Pick<Batcher<unknown, unknown>, 'waitingRows' | 'close' | 'cutOff'> & {
  submit(input: unknown, options?: PipelineLimits): Promise<BatchAnswer<unknown>>
  /** There are slots again. */
  wake?(): void
}

/** What a lease gives to whoever holds it. */
interface Leased {
  readonly model: LoadedModel
  readonly batcher: Queue
  readonly cache: PredictionCache<KeptAnswer> | undefined
}

/** How a version's requests are bound. */
export interface RequestBounds {
  /** The deadline of a request that names none. Default: none. */
  readonly timeoutMs?: number | undefined
  /** How often a request is run again whose worker died. Default: 0. */
  readonly retries?: number | undefined
}

/**
 * A request's hold on a version: until it is released, the version stays able to answer. A class, and one callback for
 * all leases of a version, since one is made for each request.
 */
export class Lease {
  readonly codec: RequestCodec
  /** For those who ask in tensors. */
  readonly tensors: RequestCodec | undefined
  readonly batcher: Queue
  /** For those who ask for an answer item by item. */
  readonly streamed: LoadedModel['streamed']
  /** Whether it asks other models, in the name of whoever asks it. */
  readonly isPipeline: boolean
  readonly cache: PredictionCache<KeptAnswer> | undefined
  readonly timeoutMs: number | undefined
  readonly retries: number
  #isHeld = true
  #whenReleased: (() => void) | undefined

  constructor(
    readonly version: string,
    { model, batcher, cache }: Leased,
    { timeoutMs, retries = 0 }: RequestBounds,
    private readonly onReleased: () => void,
  ) {
    this.codec = model.codec
    this.tensors = model.tensors
    this.batcher = batcher
    this.streamed = model.streamed
    this.isPipeline = model.pipeline !== undefined
    this.cache = cache
    this.timeoutMs = timeoutMs
    this.retries = retries
  }

  /** Has `callback` called once it is released, beside the version. */
  whenReleased(callback: () => void): this {
    this.#whenReleased = callback
    return this
  }

  /** Idempotent. */
  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.onReleased()
    this.#whenReleased?.()
  }
}
