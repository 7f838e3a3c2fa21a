import type { SubmitOptions } from './batching/batcher.js'
import { asServingError, ServingError } from './errors.js'
import { quote } from './models/names.js'
import type { PipelineCaller, StageRequest } from './models/pipeline-runs.js'
import { checkFields, integer, provided, isPlainObject, text, type Fields } from './options.js'
import type { Call } from './predict.js'
import type { AnyPrediction, PredictOptions, StageMeta } from './prediction.js'

/** What a pipeline may say of a stage's prediction. All else is as its caller said: request id, priority, deadline. */
export interface StagePredictOptions extends Pick<PredictOptions, 'version' | 'cache' | 'signal'> {
  /** Rejects with TIMEOUT after this time, or at the caller's deadline where that is sooner. Default: the caller's. */
  readonly timeoutMs?: number
}

export const stagePredictFields: Fields<StagePredictOptions> = {
  version: text,
  timeoutMs: integer(1, 2 ** 31 - 1),
  signal: provided('an AbortSignal', (value) => isPlainObject(value) && 'aborted' in value),
  cache: provided('false', (value) => value === false),
}

/** How deep pipelines may lie in each other: one that asks itself without end is found out. */
const maxDepth = 16

/** Asks the stages of a pipeline in the name of one call of it, each on the path of every prediction. */
export class StageCalls implements PipelineCaller {
  readonly #pipeline: string
  readonly #call: Call
  readonly #predict: (model: string, input: unknown, call: Call) => Promise<AnyPrediction>
  readonly #within: readonly string[]
  readonly #metas: (StageMeta | undefined)[] = []
  /** Errors of stages that the pipeline, rather than its caller, is to blame for. */
  readonly #ownFaults = new WeakSet<ServingError>()

  /**
   * @param pipeline `model@version`
   * @param predict asks a model
   * @throws ServingError INFERENCE_FAILED where pipelines lie in each other without end
   */
  constructor(
    pipeline: string,
    call: Call,
    predict: (model: string, input: unknown, call: Call) => Promise<AnyPrediction>,
  ) {
    this.#pipeline = pipeline
    this.#call = call
    this.#predict = predict
    this.#within = [...call.within, pipeline]
    if (this.#within.length <= maxDepth) return
    const last = this.#within.slice(-4).join(' > ')
    throw new ServingError(
      'INFERENCE_FAILED',
      `${pipeline}: pipelines lie in each other more than ${maxDepth} deep: ... > ${last}.`,
    )
  }

  get requestId(): string {
    return this.#call.requestId
  }

  get isPipeline(): boolean {
    return this.#call.within.length > 0
  }

  /** How the stages answered, in the order in which they were asked; without those that failed. */
  get answered(): StageMeta[] {
    return this.#metas.filter((meta) => meta !== undefined)
  }

  /** Where a stage's answer was not the one asked for. */
  get degraded(): StageMeta['degraded'] {
    return this.answered.find((meta) => meta.degraded !== undefined)?.degraded
  }

  async ask(
    { model, input, options = {}, isCallersInput }: StageRequest,
    limits: SubmitOptions & { readonly signal: AbortSignal },
  ): Promise<AnyPrediction> {
    const index = this.#metas.push(undefined) - 1
    try {
      checkFields<StagePredictOptions>(options, stagePredictFields, 'predict()', 'INVALID_REQUEST')
      const prediction = await this.#predict(model, input, this.#bounded(options, limits))
      const { requestId: _, ...meta } = prediction.meta
      this.#metas[index] = meta
      return prediction
    } catch (error) {
      throw ServingError.is(error) ? this.#named(error, model, isCallersInput) : error
    }
  }

  /** A stage's error that names stage and pipeline; its code stays, for the pipeline's function to tell by. */
  #named(error: ServingError, model: string, isCallersInput: boolean): ServingError {
    const { code, status, headers } = error
    const from = error.message.startsWith(`${model}@`) ? '' : `${quote(model)}: `
    const message = `${this.#pipeline}: stage ${from}${error.message}`
    const named = new ServingError(code, message, { cause: error, headers })
    if (status < 500 && !(code === 'INVALID_INPUT' && isCallersInput)) this.#ownFaults.add(named)
    return named
  }

  /**
   * What a code below 500 says of the caller is true only where the stage was given the caller's own input: another
   * input, a model or an option is what the pipeline made.
   */
  outward(error: unknown): ServingError {
    if (!ServingError.is(error)) return asServingError(error, 'INFERENCE_FAILED', 'run failed')
    if (!this.#ownFaults.has(error)) return error
    const isMissing = ServingError.is(error, 'MODEL_NOT_FOUND', 'VERSION_NOT_FOUND')
    return new ServingError(isMissing ? 'MODEL_NOT_READY' : 'INFERENCE_FAILED', error.message, {
      cause: error.cause,
    })
  }

  /** A stage's call: of the pipeline's call, and bound by no less. */
  #bounded(
    { version, cache = this.#call.options.cache, timeoutMs, signal: own }: StagePredictOptions,
    {
      signal: whole,
      deadlineMs = Infinity,
      wantedByMs,
      tenant,
      priority,
      demand,
      whenFull,
    }: SubmitOptions & { readonly signal: AbortSignal },
  ): Call {
    const startedAt = performance.now()
    const signal = own === undefined ? whole : AbortSignal.any([whole, own])
    const { key } = this.#call.options
    const latestMs = Math.min(deadlineMs, startedAt + (timeoutMs ?? Infinity))
    return {
      requestId: this.requestId,
      within: this.#within,
      startedAt,
      options: {
        signal,
        ...(version !== undefined && { version }),
        ...(key !== undefined && { key }),
        ...(cache !== undefined && { cache }),
      },
      limits: {
        signal,
        ...(latestMs < Infinity && { deadlineMs: latestMs }),
        ...(wantedByMs !== undefined && { wantedByMs: Math.min(wantedByMs, latestMs) }),
        priority: demand?.priority ?? priority,
        whenFull,
        tenant,
      },
    }
  }
}
