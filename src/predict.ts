import { randomUUID } from 'node:crypto'
import type { BatchAnswer } from './batching/batcher.js'
import type { WaitLimits } from './batching/limits-watch.js'
import type { CacheStatus } from './cache/prediction-cache.js'
import { asServingError, ServingError } from './errors.js'
import type { Metrics } from './metrics/metrics.js'
import type { Outcome } from './models/classification.js'
import type { ModelManager } from './models/manager.js'
import type { Lease } from './models/version.js'
import { ownCopy } from './tensor/batch.js'
import { digest } from './tensor/digest.js'
import type { Feeds } from './tensor/tensor.js'

export interface PredictOptions {
  /** A version's name, or `'latest'`, the version that serves. Default: `'latest'`. */
  readonly version?: string
  /** `false` asks neither the cache nor keeps the answer. Default: as the model's `cache` says. */
  readonly cache?: false
  /** Rejects with TIMEOUT after this time. Default: no deadline. */
  readonly timeoutMs?: number
  /** Rejects with ABORTED once aborted; a request that still waits then costs no run. */
  readonly signal?: AbortSignal
  /** Comes back in `meta`. Default: a random UUID. */
  readonly requestId?: string
}

/** How a prediction came about. */
export interface PredictionMeta {
  readonly requestId: string
  readonly model: string
  readonly version: string
  readonly cache: CacheStatus
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

/** The one path of a prediction: resolve, encode, queue, execute, decode, observe. */
export async function predict(
  models: ModelManager,
  metrics: Metrics,
  model: string,
  input: unknown,
  options: PredictOptions = {},
): Promise<AnyPrediction> {
  const startedAt = performance.now()
  const latencyMs = () => performance.now() - startedAt
  const limits = limitsOf(options, startedAt)
  let version: string | undefined
  try {
    const lease =
      models.tryLease(model, options.version) ?? (await models.lease(model, options.version, limits))
    try {
      version = lease.version
      const encoded = await lease.codec.encode(input, options.signal)
      const { result, queueMs, computeMs, batchRows, cache } = await run(
        lease,
        encoded.feeds,
        limits,
        options,
      )
      const outcome = await lease.codec.decode(result, encoded, cache !== 'off')

      const requestId = options.requestId ?? randomUUID()
      const meta = {
        requestId,
        model,
        version,
        cache,
        batchRows,
        queueMs,
        computeMs,
        latencyMs: latencyMs(),
      }
      if (batchRows > 0) metrics.queued(model, version, queueMs)
      metrics.request({ model, version, latencyMs: meta.latencyMs, confidence: outcome.confidence })
      return { ...outcome, meta }
    } finally {
      lease.release()
    }
  } catch (cause) {
    const error = inContext(asServingError(cause), model, version)
    // What a client names is a label only where it exists, or clients could make labels without end.
    metrics.request({ model: models.has(model) ? model : undefined, version, latencyMs: latencyMs(), error })
    throw error
  }
}

/** The outputs of feeds: kept by the version's cache, under way for an equal request, or computed. */
async function run(
  { batcher, cache }: Lease,
  feeds: Feeds,
  limits: WaitLimits,
  options: PredictOptions,
): Promise<BatchAnswer<Feeds> & { readonly cache: CacheStatus }> {
  if (cache === undefined || options.cache === false) {
    return { ...(await batcher.submit(feeds, limits)), cache: 'off' }
  }
  const { value, status } = await cache.get(digest(feeds), limits, async (signal) => {
    const answer = await batcher.submit(feeds, { signal })
    // A row may be a view of its batch, which the cache would keep alive as a whole.
    return { ...answer, result: ownCopy(answer.result) }
  })
  return status === 'miss' || status === 'coalesced'
    ? { ...value, cache: status }
    : { result: value.result, queueMs: 0, computeMs: 0, batchRows: 0, cache: status }
}

function limitsOf({ timeoutMs, signal }: PredictOptions, now: number): WaitLimits {
  return { signal, deadlineMs: timeoutMs === undefined ? undefined : now + timeoutMs }
}

/** Says which version an error of the queue or the runtime came from; others name it already. */
function inContext(error: ServingError, model: string, version: string | undefined): ServingError {
  const bare = ServingError.is(error, 'QUEUE_FULL', 'TIMEOUT', 'INFERENCE_FAILED', 'WORKER_DIED', 'INTERNAL')
  if (!bare || version === undefined) return error
  return new ServingError(error.code, `${model}@${version}: ${error.message}`, {
    cause: error,
    headers: error.headers,
  })
}
