import { randomUUID } from 'node:crypto'
import type { BatchAnswer } from './batching/batch-run.js'
import type { SubmitOptions } from './batching/batcher.js'
import type { Priority } from './batching/waiting.js'
import type { CacheStatus, PredictionCache } from './cache/prediction-cache.js'
import { asServingError, ServingError } from './errors.js'
import type { Metrics } from './metrics/metrics.js'
import type { Outcome } from './models/classification.js'
import type { Awaitable } from './models/codec.js'
import type { Encoded, RequestCodec } from './models/loaded-model.js'
import type { ModelManager } from './models/manager.js'
import { plainCopy } from './models/plain-copy.js'
import { submitWithRetries } from './models/resubmit.js'
import type { TensorRequest } from './models/tensor-codec.js'
import type { PipelineLimits } from './models/pipeline-runs.js'
import type { KeptAnswer, Lease } from './models/lease.js'
import { StageCalls } from './predict-stage.js'
import type { AnyPrediction, Inference, PredictionMeta, PredictOptions } from './prediction.js'
import type { Feeds } from './tensor/tensor.js'

/** A call on its way: what stays the same when a fallback takes it over. */
export interface Call {
  readonly requestId: string
  /** The pipelines that it is made by, as `model@version`, the outermost first. */
  readonly within: readonly string[]
  readonly options: PredictOptions
  readonly limits: SubmitOptions
  readonly startedAt: number
  /** Whether the input is of tensors, and so is the answer to be, past the model's own codec. Default: false. */
  readonly inTensors?: boolean
}

const priorities: Readonly<Record<NonNullable<PredictOptions['priority']>, Priority>> = {
  high: 0,
  normal: 1,
  low: 2,
}

/** What a prediction is made with. */
export interface PredictHost {
  readonly models: ModelManager
  readonly metrics: Metrics
  /** Why any request is refused now. */
  readonly refusal: ServingError | undefined
  /** A model was asked. */
  began(): void
  /** A model has answered, or failed. */
  ended(): void
}

/**
 * Predicts with a model, or where it can't, with its fallback.
 * @throws ServingError of the last model asked
 */
export function predict(
  host: PredictHost,
  model: string,
  input: unknown,
  options: PredictOptions = {},
): Promise<AnyPrediction> {
  return predictCall(host, model, input, callOf(options))
}

/** As {@link predict}, in tensors. */
export async function infer(
  host: PredictHost,
  model: string,
  request: TensorRequest,
  options: PredictOptions = {},
): Promise<Inference> {
  // What one model is given, the next would miss.
  const isKept = request.transfer === true && host.models.mayFallBack(model)
  const given = isKept ? { ...request, transfer: undefined } : request
  const { prediction, meta } = await predictCall(host, model, given, {
    ...callOf(options),
    inTensors: true,
  })
  return { outputs: prediction as Feeds, meta }
}

export function callOf(options: PredictOptions): Call {
  const startedAt = performance.now()
  const { timeoutMs, signal, whenFull, tenant, priority = 'normal', requestId = randomUUID() } = options
  const deadlineMs = timeoutMs === undefined ? undefined : startedAt + timeoutMs
  const limits = { signal, deadlineMs, whenFull, tenant, priority: priorities[priority] }
  return { options, limits, startedAt, requestId, within: outermost }
}

const outermost: readonly string[] = []

function predictCall(host: PredictHost, model: string, input: unknown, call: Call): Promise<AnyPrediction> {
  if (!host.models.mayFallBack(model)) return answerOf(host, model, input, call)
  // A fallback reads the input later, when the caller may have changed it.
  const { copy } = plainCopy(input)
  return orFallback(host, answerOf(host, model, copy, call), [model], copy, call)
}

/** @param asked the models that were asked, the one that `answer` is of last */
async function orFallback(
  host: PredictHost,
  answer: Promise<AnyPrediction>,
  asked: readonly string[],
  input: unknown,
  call: Call,
): Promise<AnyPrediction> {
  // From the failure of one model to the next it is still under way.
  host.began()
  try {
    return await answer
  } catch (error) {
    const next = host.models.fallbackOf(asked.at(-1) ?? '')
    if (!ServingError.is(error) || !canFallBack(error) || next === undefined || asked.includes(next))
      throw error
    // A version that was asked for is the first model's.
    const later = { ...call, options: { ...call.options, version: 'latest' } }
    const { meta, ...outcome } = await orFallback(
      host,
      answerOf(host, next, input, later),
      [...asked, next],
      input,
      later,
    )
    return { ...outcome, meta: { ...meta, degraded: 'fallback' } }
  } finally {
    host.ended()
  }
}

/** Whether the fault is the model's or its load's, rather than the input's or the caller's. */
function canFallBack(error: ServingError): boolean {
  return (
    error.status >= 500 && !ServingError.is(error, 'CLOSED', 'TIMEOUT', 'INVALID_OPTIONS', 'INVALID_CONFIG')
  )
}

/** A model's answer, a copy of the request going to its shadow where it has one. */
function answerOf(host: PredictHost, model: string, input: unknown, call: Call): Promise<AnyPrediction> {
  const copy = host.models.shadowCopy(model, input, call.inTensors)
  const answer = ownAnswer(host, model, input, call)
  return copy === undefined ? answer : copy.beside(answer)
}

/** The one path of a prediction: resolve, encode, cache, queue, execute, decode, observe. */
async function ownAnswer(
  host: PredictHost,
  model: string,
  input: unknown,
  call: Call,
): Promise<AnyPrediction> {
  const { models } = host
  const { options, startedAt } = call
  let { limits } = call
  let lease: Lease | undefined
  host.began()
  try {
    const isStage = call.within.length > 0
    // What was taken in goes on.
    if (!isStage && host.refusal !== undefined) throw host.refusal
    lease = models.tryLease(model, options.version, isStage, options.key)
    if (lease === undefined) {
      // What the caller changes while the model loads changes nothing.
      input = plainCopy(input).copy
      lease = await models.lease(model, options.version, limits, isStage, options.key)
    }
    if (lease.timeoutMs !== undefined) limits = withDeadline(limits, startedAt + lease.timeoutMs)
    // Nothing is waited for that needs no wait: each wait costs as much as the rest of a small model's path.
    const codec = call.inTensors === true ? tensorsOf(lease, model) : lease.codec
    const encoding = codec.encode(input, options.signal)
    input = undefined // not kept over the waits: of many requests it would be collected late
    const encoded = isPromise(encoding) ? await models.within(limits, encoding) : encoding
    const stages = lease.isPipeline ? stagesOf(host, `${model}@${lease.version}`, call) : undefined
    const running = run({ models, model, lease, codec, encoded, limits, stages }, options.cache)
    const answer = isPromise(running) ? await running : running
    const decoding = codec.decode(answer.result, encoded, answer.cache !== undefined)
    const outcome = isPromise(decoding) ? await models.within(limits, decoding) : decoding
    return answered(host, model, lease.version, call, answer, stages, outcome)
  } catch (cause) {
    throw failed(host, model, lease?.version, call, cause)
  } finally {
    lease?.release()
    host.ended()
  }
}

/** Counts an answer, and says how it came about. Not in {@link ownAnswer}, whose every variable is kept over its waits. */
function answered(
  { models, metrics }: PredictHost,
  model: string,
  version: string,
  { requestId, startedAt }: Call,
  answer: RunAnswer,
  stages: StageCalls | undefined,
  outcome: Outcome,
): AnyPrediction {
  const { queueMs, computeMs, batchRows, cache = 'off' } = answer
  const now = performance.now()
  const latencyMs = now - startedAt
  metrics.answered(
    { model, version, latencyMs, queueMs, computeMs, cache, confidence: outcome.confidence },
    now,
  )
  const isCached = cache === 'hit' || cache === 'stale'
  models.outcomes?.answered(model, { version, status: 'ok', latencyMs, isCached })
  const meta = { requestId, model, version, cache, batchRows, queueMs, computeMs, latencyMs }
  const degraded = answer.cache === undefined ? stages?.degraded : answer.degraded
  if (degraded === undefined && stages === undefined) return Object.assign(outcome, { meta })
  const more = { ...(degraded && { degraded }), ...(stages && { stages: stages.answered }) }
  return Object.assign(outcome, { meta: { ...meta, ...more } })
}

/** Counts a failure. @returns what the caller is told */
export function failed(
  { models, metrics }: PredictHost,
  model: string,
  version: string | undefined,
  { startedAt }: Call,
  cause: unknown,
): ServingError {
  const error = inContext(asServingError(cause), model, version)
  const latencyMs = performance.now() - startedAt
  // What a client names is a label only where it exists, or clients could make labels without end.
  metrics.failed({ model: models.has(model) ? model : undefined, version, latencyMs, error })
  if (version !== undefined && error.status >= 500 && error.code !== 'CLOSED')
    models.outcomes?.answered(model, { version, status: 'error', latencyMs, isCached: false })
  return error
}

export function withDeadline(limits: SubmitOptions, deadlineMs: number): SubmitOptions {
  return limits.deadlineMs === undefined ? { ...limits, deadlineMs } : limits
}

/** @throws ServingError INVALID_REQUEST */
function tensorsOf({ tensors, version, isPipeline }: Lease, model: string): RequestCodec {
  if (tensors !== undefined) return tensors
  const what = isPipeline ? 'a pipeline' : 'code'
  throw new ServingError('INVALID_REQUEST', `${model}@${version} takes no tensors: it is ${what}.`)
}

function stagesOf(host: PredictHost, pipeline: string, call: Call): StageCalls {
  return new StageCalls(pipeline, call, (model, input, made) => predictCall(host, model, input, made))
}

/** What a run came to. */
type RunAnswer = BatchAnswer<unknown> & {
  /** Undefined where the request had no cache. */
  readonly cache?: CacheStatus
  readonly degraded?: PredictionMeta['degraded']
}

/** A call that has its version and its feeds. */
interface LeasedCall {
  readonly models: ModelManager
  readonly model: string
  readonly lease: Lease
  readonly codec: RequestCodec
  readonly encoded: Encoded
  readonly limits: SubmitOptions
  /** Of a pipeline. */
  readonly stages: StageCalls | undefined
}

/** The result of a call: kept by the version's cache, under way for an equal request, or computed. */
function run(call: LeasedCall, caching: PredictOptions['cache']): Awaitable<RunAnswer> {
  const { codec, encoded, limits, stages } = call
  const { cache } = call.lease
  if (cache === undefined || caching === false) {
    return submit(call, codec.own(encoded), stages === undefined ? limits : { ...limits, caller: stages })
  }
  const key = codec.key(encoded)
  const hit = cache.hit(key)
  return hit === undefined ? cached(call, cache, key) : kept(hit, 'hit')
}

/** Queues feeds for a run; again, where the version's `retries` say so and its worker died. */
function submit(
  { models, model, lease }: LeasedCall,
  feeds: unknown,
  limits: PipelineLimits,
): Promise<BatchAnswer<unknown>> {
  if (lease.retries === 0) return lease.batcher.submit(feeds, limits)
  return submitWithRetries(lease, feeds, limits, () => models.leaseAgain(model, lease.version, limits))
}

async function cached(call: LeasedCall, cache: PredictionCache<KeptAnswer>, key: string): Promise<RunAnswer> {
  const { codec, encoded, limits, stages } = call
  const { whenFull, tenant, deadlineMs } = limits
  // At once: where an equal request under way is refused, this one is computed later, when the caller may have
  // changed its input.
  const feeds = codec.own(encoded)
  // A pipeline in another must not wait for a run that may, by way of other stages, wait for it.
  const joins = stages?.isPipeline !== true
  const { value, status } = await cache.get(key, { ...limits, joins }, async (demand) => {
    const asked = { demand, whenFull, tenant, wantedByMs: deadlineMs, caller: stages }
    const { result, queueMs, computeMs, batchRows } = await submit(call, feeds, asked)
    const { value: own, bytes } = codec.keep(result)
    return { result: own, bytes, queueMs, computeMs, batchRows, degraded: stages?.degraded }
  })
  if (status !== 'miss' && status !== 'coalesced') return kept(value, status)
  const { result, queueMs, computeMs, batchRows, degraded } = value
  return { result, queueMs, computeMs, batchRows, cache: status, degraded }
}

/** An answer that cost this request neither a wait nor a run. */
function kept({ result, degraded }: KeptAnswer, cache: CacheStatus): RunAnswer {
  return {
    result,
    queueMs: 0,
    computeMs: 0,
    batchRows: 0,
    cache,
    degraded: cache === 'stale' ? cache : degraded,
  }
}

function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return value instanceof Promise
}

/** Says which version an error of the queue or the runtime came from; others name it already. */
function inContext(error: ServingError, model: string, version: string | undefined): ServingError {
  const bare = ServingError.is(
    error,
    'QUEUE_FULL',
    'OVERLOADED',
    'TIMEOUT',
    'INFERENCE_FAILED',
    'INVALID_CODEC',
    'WORKER_DIED',
    'RUN_TIMEOUT',
    'INTERNAL',
  )
  const label = `${model}@${version ?? ''}: `
  if (!bare || version === undefined || error.message.startsWith(label)) return error
  return new ServingError(error.code, `${label}${error.message}`, { cause: error, headers: error.headers })
}
