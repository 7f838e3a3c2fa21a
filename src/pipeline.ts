import { asServingError, ServingError } from './errors.js'
import type { Awaitable } from './models/codec.js'
import type { AnyModel, Json, Model } from './models/definition.js'
import { inputField } from './models/definition.js'
import { exposureFields, type ExposureOptions } from './models/exposure.js'
import { commonFields, type CommonOptions } from './models/model-config.js'
import type { StageInfo } from './models/pipeline-model.js'
import type { StandardSchemaV1 } from './models/standard-schema.js'
import { checkFields, func, integer, isPlainObject, provided, show, text, type Fields } from './options.js'
import type { StagePredictOptions } from './predict-stage.js'
import type { In, Out, Prediction } from './serving.js'

type Models = Readonly<Record<string, AnyModel>>

export interface PipelineOptions<P, I, M = Models>
  extends Pick<CommonOptions, 'description' | 'cache' | 'timeoutMs' | 'fallback'>, ExposureOptions {
  /** Any Standard Schema (zod, valibot, arktype ...): what callers are held to at run time. */
  readonly input?: StandardSchemaV1<I, P>
  /** The key of an input in the `cache`. Default: the input itself, where it is plain data. */
  readonly cacheKey?: (input: P) => string
  /** Runs that may be under way at once; one beyond is refused at once with QUEUE_FULL. Default: 1024. */
  readonly maxInFlight?: number
  /** The models that it asks, which are in the serving by these names: types follow from them. Default: any. */
  readonly models?: M
}

/** A stage of a pipeline in a row. */
export interface PipelineStage<N extends string = string> {
  /** The model's name in the serving. */
  readonly model: N
  /** A version, which is loaded with the pipeline, or `'latest'`, the one that serves. Default: `'latest'`. */
  readonly version?: string
  /** Rejects with TIMEOUT after this time, or at the caller's deadline where that is sooner. Default: the caller's. */
  readonly timeoutMs?: number
  /**
   * Makes the stage's input of the prediction before it and of what the pipeline was given, which the first stage has
   * twice. Default: the prediction before it, as it is.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- names alone say nothing of what models answer
  readonly input?: (previous: any, original: any) => Awaitable<unknown>
}

type Stage<N extends string = string> = N | PipelineStage<N>

// Nothing is known of a model but its name: what it takes and answers is the user's to know.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type At<M, K> = K extends keyof M ? M[K] : Model<any, any>
type NameOf<M> = [keyof M] extends [never] ? string : keyof M & string

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a function of the user's makes the first stage's input
type First<M, S> = S extends { readonly input: unknown } ? any : In<At<M, ModelOf<S>>>
type ModelOf<S> = S extends { readonly model: infer K } ? K : S

declare const answer: unique symbol

/** A stage's answer; a pipeline's function that returns one passes it on, confidence and all. */
export type StagePrediction<O = unknown> = Prediction<O> & { readonly [answer]: O }
type PassedOn<O> = O extends { readonly [answer]: infer X } ? X : O

/** What a pipeline's function works with. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- no models: any name
export interface PipelineContext<M = {}> {
  /**
   * Asks a model of the serving, with the request id, priority, deadline and signal of the call that the pipeline
   * answers.
   * @throws ServingError as docs/errors.md says; it names the pipeline and the stage
   */
  readonly predict: <K extends NameOf<M>>(
    model: K,
    input: In<At<M, K>>,
    options?: StagePredictOptions,
  ) => Promise<StagePrediction<Out<At<M, K>>>>
  /** Aborts once nobody waits for the answer any more. */
  readonly signal: AbortSignal
  readonly requestId: string
}

export const stageFields: Fields<PipelineStage> = {
  model: text,
  version: text,
  timeoutMs: integer(1, 2 ** 31 - 1),
  input: func(),
}

export const pipelineFields: Fields<PipelineOptions<never, never>> = {
  description: commonFields.description,
  cache: commonFields.cache,
  timeoutMs: commonFields.timeoutMs,
  fallback: commonFields.fallback,
  ...exposureFields,
  input: inputField,
  cacheKey: func(),
  maxInFlight: integer(1, 1_000_000),
  models: provided('an object of models by name', isPlainObject),
}

/**
 * Defines a model made of others of the serving: models in a row, each given the prediction of the one before, or a
 * function over predictions. Each stage is queued, batched, cached and counted as ever; all share the caller's request
 * id, priority, deadline and signal. A pipeline takes no permit, so that its stages never wait for it.
 *
 * @throws ServingError INVALID_OPTIONS
 */
export function pipeline<
  M extends Models,
  const S extends readonly Stage<keyof M & string>[],
  P = First<M, S[0]>,
  I = P,
>(
  stages: S,
  options: PipelineOptions<P, I, M> & { readonly models: M },
): Model<I, S extends readonly [...unknown[], infer L] ? Out<At<M, ModelOf<L>>> : unknown>
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- names say nothing of the answer: as JSON.parse's
export function pipeline<I = Json, O = any, P = I>(
  stages: readonly Stage[],
  options?: PipelineOptions<P, I, undefined>,
): Model<I, O>
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- no models: any name
export function pipeline<P, O, I = P, M extends Models = {}>(
  run: (input: P, context: PipelineContext<M>) => Awaitable<O>,
  options?: PipelineOptions<P, I, M>,
): Model<I, PassedOn<O>>
export function pipeline(of: unknown, options: object = {}): AnyModel {
  checkFields<object>(options, pipelineFields, 'pipeline()', 'INVALID_OPTIONS')
  const { models, ...rest } = options as PipelineOptions<never, never>
  const asked = Object.keys(models ?? {}).map((model): StageInfo => ({ model }))
  if (typeof of === 'function') return definition({ ...rest, run: of, stages: asked })
  if (!Array.isArray(of) || of.length === 0) {
    throw new ServingError(
      'INVALID_OPTIONS',
      `pipeline(): what it does must be a list of models, at least one, or a function; got ${show(of)}.`,
    )
  }
  const stages = of.map(stageOf)
  const [first] = stages
  const isEntry = first?.input === undefined && rest.input === undefined
  return definition({
    ...rest,
    run: inARow(stages),
    stages: stages.map(infoOf),
    ...(isEntry && first !== undefined && { entry: infoOf(first) }),
  })
}

function definition(options: object): AnyModel {
  return { kind: 'pipeline', options } as AnyModel
}

function stageOf(given: unknown, index: number): PipelineStage {
  const at = `pipeline(): stage ${index + 1}`
  const stage: unknown = typeof given === 'string' ? { model: given } : given
  checkFields<PipelineStage>(stage, stageFields, at, 'INVALID_OPTIONS')
  if (text.accepts((stage as Partial<PipelineStage>).model)) return stage
  throw new ServingError('INVALID_OPTIONS', `${at}: model is missing; it must be ${text.expected}.`)
}

function infoOf({ model, version }: PipelineStage): StageInfo {
  return version === undefined ? { model } : { model, version }
}

/** Models in a row as a function over predictions. */
function inARow(stages: readonly PipelineStage[]) {
  return async (original: unknown, { predict }: PipelineContext): Promise<unknown> => {
    let previous = original
    let last: unknown
    for (const { model, version, timeoutMs, input } of stages) {
      const given = input === undefined ? previous : await made(model, input, previous, original)
      const prediction = await predict(model, given, {
        ...(version !== undefined && { version }),
        ...(timeoutMs !== undefined && { timeoutMs }),
      })
      last = prediction
      previous = prediction.prediction
    }
    return last
  }
}

async function made(
  model: string,
  input: NonNullable<PipelineStage['input']>,
  previous: unknown,
  original: unknown,
): Promise<unknown> {
  try {
    return await input(previous, original)
  } catch (error) {
    throw asServingError(error, 'INFERENCE_FAILED', `input of stage "${model}" failed`)
  }
}
