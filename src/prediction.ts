import type { CacheStatus } from './cache/prediction-cache.js'
import type { Outcome } from './models/classification.js'
import { integer, isPlainObject, oneOf, provided, text, type Fields } from './options.js'
import type { Feeds } from './tensor/tensor.js'

export interface PredictOptions {
  /** A version's name or a label, or `'latest'`, the version that serves. Default: `'latest'`. */
  readonly version?: string
  /** For whom, such as a user: while there is a canary, requests of one key stay on one version. Default: by chance. */
  readonly key?: string
  /** Who goes first where requests wait. Default: `'normal'`. */
  readonly priority?: 'high' | 'normal' | 'low'
  /** On whose behalf: the requests of those who wait for one model share its runs. Default: all are one. */
  readonly tenant?: string
  /** `false` asks neither the cache nor keeps the answer. Default: as the model's `cache` says. */
  readonly cache?: false
  /**
   * Rejects with TIMEOUT after this time, or at once with OVERLOADED where it can't be met. Default: the model's own
   * `timeoutMs`.
   */
  readonly timeoutMs?: number
  /** Rejects with ABORTED once aborted; a request that still waits then costs no run. */
  readonly signal?: AbortSignal
  /** Where the queue is full: reject at once with QUEUE_FULL, or wait for room. Default: `'reject'`. */
  readonly whenFull?: 'reject' | 'wait'
  /** Comes back in `meta`. Default: a random UUID. */
  readonly requestId?: string
}

/** How each option of a prediction is checked. */
export const predictFields: Fields<PredictOptions> = {
  version: text,
  key: text,
  timeoutMs: integer(1, 2 ** 31 - 1),
  signal: provided('an AbortSignal', (value) => isPlainObject(value) && 'aborted' in value),
  requestId: text,
  cache: provided('false', (value) => value === false),
  priority: oneOf('high', 'normal', 'low'),
  tenant: text,
  whenFull: oneOf('reject', 'wait'),
}

/** How a prediction came about. */
export interface PredictionMeta {
  readonly requestId: string
  /** The model that answered: the one asked for, or its `fallback`. */
  readonly model: string
  readonly version: string
  readonly cache: CacheStatus
  /**
   * Where the answer is not the one asked for: an old one, or that of the model's `fallback`; of a pipeline also where
   * a stage's was not.
   */
  readonly degraded?: 'stale' | 'fallback'
  /** Rows of the run that answered; 0 where the cache did. */
  readonly batchRows: number
  /** Time from the queue's door to the session. */
  readonly queueMs: number
  /** Time in the runtime; inline mostly with what the event loop did just before. */
  readonly computeMs: number
  /** Time from call to answer. */
  readonly latencyMs: number
  /**
   * Of a pipeline: how each of its stages answered, in the order in which they were asked, without those that failed.
   * Empty where the cache, or an equal request under way, answered.
   */
  readonly stages?: readonly StageMeta[]
}

/** How a stage's prediction came about. */
export type StageMeta = Omit<PredictionMeta, 'requestId'>

export type AnyPrediction = Outcome & { readonly meta: PredictionMeta }

/** The answer to a request of tensors. */
export interface Inference {
  /** By the names of the outputs that were asked for. */
  readonly outputs: Feeds
  readonly meta: PredictionMeta
}
