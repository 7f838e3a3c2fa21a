import { randomUUID } from 'node:crypto'
import type { BatchAnswer } from './batching/batch-run.js'
import type { SubmitOptions } from './batching/batcher.js'
import type { Priority } from './batching/waiting.js'
import type { CacheStatus } from './cache/prediction-cache.js'
import { asServingError, ServingError } from './errors.js'
import type { Metrics } from './metrics/metrics.js'
import type { Outcome } from './models/classification.js'
import type { Awaitable } from './models/codec.js'
import type { Encoded } from './models/loaded-model.js'
import type { ModelManager } from './models/manager.js'
import type { Lease } from './models/version.js'

export interface PredictOptions {
  /** A version's name, or `'latest'`, the version that serves. Default: `'latest'`. */
  readonly version?: string
  /** Who goes first where requests wait. Default: `'normal'`. */
  readonly priority?: 'high' | 'normal' | 'low'
  /** `false` asks neither the cache nor keeps the answer. Default: as the model's `cache` says. */
  readonly cache?: false
  /** Rejects with TIMEOUT after this time. Default: no deadline. */
  readonly timeoutMs?: number
  /** Rejects with ABORTED once aborted; a request that still waits then costs no run. */
  readonly signal?: AbortSignal
  /** Where the queue is full: reject at once with QUEUE_FULL, or wait for room. Default: `'reject'`. */
  readonly whenFull?: 'reject' | 'wait'
  /** Comes back in `meta`. Default: a random UUID. */
  readonly requestId?: string
}

/** How a prediction came about. */
export interface PredictionMeta {
  readonly requestId: string
  /** The model that answered: the one asked for, or its `fallback`. */
  readonly model: string
  readonly version: string
  readonly cache: CacheStatus
  /** Where the answer is not the one asked for: an old one, or that of the model's `fallback`. */
  readonly degraded?: 'stale' | 'fallback'
  /** Rows of the run that answered; 0 where the cache did. */
  readonly batchRows: number
  /** Time from the queue's door to the session. */
  readonly queueMs: number
  /** Time in the runtime. */
  readonly computeMs: number
  /** Time from call to answer. */
  readonly latencyMs: number
}

export type AnyPrediction = Outcome & { readonly meta: PredictionMeta }

/** A call on its way: what stays the same when a fallback takes it over. */
interface Call {
  readonly input: unknown
  readonly options: PredictOptions
  readonly limits: SubmitOptions
  readonly startedAt: number
}

const priorities: Readonly<Record<NonNullable<PredictOptions['priority']>, Priority>> = {
  high: 0,
  normal: 1,
  low: 2,
}

/**
 * Predicts with a model, or where it can't, with its fallback.
 * @throws ServingError of the last model asked
 */
export async function predict(
  models: ModelManager,
  metrics: Metrics,
  model: string,
  input: unknown,
  options: PredictOptions = {},
): Promise<AnyPrediction> {
  const startedAt = performance.now()
  const { timeoutMs, signal, whenFull, priority = 'normal' } = options
  const deadlineMs = timeoutMs === undefined ? undefined : startedAt + timeoutMs
  const limits = { signal, deadlineMs, whenFull, priority: priorities[priority] }
  let call: Call = { input, options, limits, startedAt }
  const tried = new Set<string>()
  for (let asked = model; ;) {
    try {
      const answer = await answerOf(models, metrics, asked, call)
      return asked === model ? answer : { ...answer, meta: { ...answer.meta, degraded: 'fallback' } }
    } catch (error) {
      tried.add(asked)
      const next = ServingError.is(error) && canFallBack(error) ? models.fallbackOf(asked) : undefined
      if (next === undefined || tried.has(next)) throw error
      asked = next
      // A version that was asked for is the first model's.
      call = { ...call, options: { ...options, version: 'latest' } }
    }
  }
}

/** Whether the fault is the model's or its load's, rather than the input's or the caller's. */
function canFallBack(error: ServingError): boolean {
  return (
    error.status >= 500 && !ServingError.is(error, 'CLOSED', 'TIMEOUT', 'INVALID_OPTIONS', 'INVALID_CONFIG')
  )
}

/** The one path of a prediction: resolve, encode, cache, queue, execute, decode, observe. */
async function answerOf(
  models: ModelManager,
  metrics: Metrics,
  model: string,
  call: Call,
): Promise<AnyPrediction> {
  const { input, options, limits, startedAt } = call
  let version: string | undefined
  try {
    const lease =
      models.tryLease(model, options.version) ?? (await models.lease(model, options.version, limits))
    try {
      version = lease.version
      const encoding = lease.codec.encode(input, options.signal)
      const encoded = isPromise(encoding) ? await models.within(limits, encoding) : encoding
      const { result, queueMs, computeMs, batchRows, cache } = await run(lease, encoded, call)
      const decoding = lease.codec.decode(result, encoded, cache !== 'off')
      const outcome = isPromise(decoding) ? await models.within(limits, decoding) : decoding

      const requestId = options.requestId ?? randomUUID()
      const latencyMs = performance.now() - startedAt
      const degraded = cache === 'stale' ? { degraded: 'stale' as const } : undefined
      const meta = {
        requestId,
        model,
        version,
        cache,
        ...degraded,
        batchRows,
        queueMs,
        computeMs,
        latencyMs,
      }
      if (batchRows > 0) metrics.queued(model, version, queueMs)
      metrics.request({ model, version, latencyMs, confidence: outcome.confidence })
      return { ...outcome, meta }
    } finally {
      lease.release()
    }
  } catch (cause) {
    const error = inContext(asServingError(cause), model, version)
    const latencyMs = performance.now() - startedAt
    // What a client names is a label only where it exists, or clients could make labels without end.
    metrics.request({ model: models.has(model) ? model : undefined, version, latencyMs, error })
    throw error
  }
}

/** The result of an input: kept by the version's cache, under way for an equal request, or computed. */
async function run(
  { batcher, cache, codec }: Lease,
  encoded: Encoded,
  { options, limits }: Call,
): Promise<BatchAnswer<unknown> & { readonly cache: CacheStatus }> {
  if (cache === undefined || options.cache === false) {
    const { result, queueMs, computeMs, batchRows } = await batcher.submit(encoded.feeds, limits)
    return { result, queueMs, computeMs, batchRows, cache: 'off' }
  }
  const { whenFull } = limits
  const { value, status } = await cache.get(codec.key(encoded), limits, async (flight) => {
    const answer = await batcher.submit(encoded.feeds, { ...flight, whenFull })
    const { value: result, bytes } = codec.keep(answer.result)
    return { ...answer, result, bytes }
  })
  const { result, queueMs, computeMs, batchRows } = value
  return status === 'miss' || status === 'coalesced'
    ? { result, queueMs, computeMs, batchRows, cache: status }
    : { result, queueMs: 0, computeMs: 0, batchRows: 0, cache: status }
}

function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return value instanceof Promise
}

/** Says which version an error of the queue or the runtime came from; others name it already. */
function inContext(error: ServingError, model: string, version: string | undefined): ServingError {
  const bare = ServingError.is(
    error,
    'QUEUE_FULL',
    'TIMEOUT',
    'INFERENCE_FAILED',
    'INVALID_CODEC',
    'WORKER_DIED',
    'INTERNAL',
  )
  const label = `${model}@${version ?? ''}: `
  if (!bare || version === undefined || error.message.startsWith(label)) return error
  return new ServingError(error.code, `${label}${error.message}`, { cause: error, headers: error.headers })
}
