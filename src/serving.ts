import type { ServingError } from './errors.js'
import type { ReadinessReport } from './health/health.js'
import type { Logger } from './logger.js'
import type { Metrics } from './metrics/metrics.js'
import type { Scored } from './models/classification.js'
import type { Json, Model, StreamModel } from './models/definition.js'
import type { ModelManager } from './models/manager.js'
import type { TensorRequest } from './models/tensor-codec.js'
import type { PredictManyOptions } from './predict-many.js'
import type { PredictionStream, PredictStreamOptions } from './predict-stream.js'
import type { AnyPrediction, Inference, PredictionMeta, PredictOptions } from './prediction.js'

/** Names and models of a repository folder, for types: augmented by the user; empty, any name is accepted. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- an interface, since only these can be augmented
export interface FolderModels {}

export type FolderName = [keyof FolderModels] extends [never]
  ? string & {}
  : Extract<keyof FolderModels, string>
/** The model of a name. What a model that only the folder knows answers is the user's to know: `any`, as JSON.parse's. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- see above
export type At<M, K> = K extends keyof M ? M[K] : Model<Json, any>
export type In<M> = M extends Model<infer I, infer _> ? I : never
export type Out<M> = M extends Model<infer _, infer O> ? O : never
/** What a model yields item by item; never, where it does not. */
export type Item<M> =
  M extends StreamModel<infer _, infer __, infer T> ? T : M extends Model<Json, infer O> ? OnlyAny<O> : never
type OnlyAny<O> = 0 extends 1 & O ? O : never
/** The names of models that answer item by item, as far as it is known. */
export type StreamName<M, N extends string> = N extends keyof M
  ? M[N] extends StreamModel<infer _, infer __, infer ___>
    ? N
    : never
  : N
type Named<T> = { [K in keyof T as K extends symbol ? never : K]: T[K] }

/** What a prediction answers: what `decode` gave, and how it came about. */
export type Prediction<O = unknown> = Answer<O> & { readonly meta: PredictionMeta }

type Answer<O> = unknown extends O
  ? { readonly prediction: O; /** Where the model's `task` gives one. */ readonly confidence?: number }
  : O extends Scored<unknown>
    ? Named<O>
    : { readonly prediction: O }

/**
 * The models of one process, ready to be asked. Owns what it opened, and closes it.
 *
 * @typeParam M models by name
 * @typeParam N the names that are accepted
 */
export interface Serving<
  M = FolderModels,
  N extends string = (keyof M & string) | FolderName,
> extends AsyncDisposable {
  /** Versions, states, and every change to them. */
  readonly models: ModelManager<N>
  readonly metrics: Metrics
  /** The model of a request that names none, as the options say. */
  readonly defaultModel: string | undefined
  readonly logger: Logger
  /**
   * Predicts: one input, or one batch of rows.
   * @throws ServingError as docs/errors.md says
   */
  predict<K extends N>(
    model: K,
    input: In<At<M, K>>,
    options?: PredictOptions,
  ): Promise<Prediction<Out<At<M, K>>>>
  /**
   * Predicts for inputs of any number, in their order, with bounded memory: no more are taken than `maxInFlight`
   * ahead of the caller. A failure ends the iteration.
   */
  predictMany<K extends N>(
    model: K,
    inputs: Iterable<In<At<M, K>>> | AsyncIterable<In<At<M, K>>>,
    options?: PredictManyOptions,
  ): AsyncIterable<Prediction<Out<At<M, K>>>>
  /**
   * Asks a custom model with `stream` for its answer item by item, each made when it is asked for. What reads it slowly
   * holds it back; to stop reading, to abort or the deadline ends it. Not cached, and without fallback and shadow.
   * @throws ServingError when it is read, as {@link predict}; INVALID_REQUEST for a model without `stream`
   */
  predictStream<K extends StreamName<M, N>>(
    model: K,
    input: In<At<M, K>>,
    options?: PredictStreamOptions,
  ): PredictionStream<Item<At<M, K>>>
  /**
   * Asks an ONNX model in tensors, and answers in tensors: past its `input` schema, `encode` and `decode`, but on the path
   * of every prediction. Arrays are copied, and may be changed afterwards, unless `transfer` gives them away.
   * @throws ServingError as {@link predict}; INVALID_REQUEST for a model of code or a pipeline, which takes no tensors
   */
  infer(model: N, request: TensorRequest, options?: PredictOptions): Promise<Inference>
  /** One model, to be handed to code that needs no other. */
  model<K extends N>(model: K): ModelHandle<In<At<M, K>>, Out<At<M, K>>, Item<At<M, K>>>
  /** Waits until every model serves. @throws ServingError MODEL_NOT_READY that names those which do not, and why */
  ready(): Promise<void>
  /** Why a request would be refused now, whatever it asks for: what a door looks at before it reads a body. */
  readonly refusal: ServingError | undefined
  /** Whether it is ready now, and what is missing. */
  readiness(): ReadinessReport
  /**
   * From now on it is not ready, so that no balancer sends more; requests that still come are answered. Settles once
   * none is under way. The end of it is {@link close}.
   */
  drain(): Promise<void>
  /**
   * Refuses new requests, ends those under way (for at most `drainTimeoutMs`), and frees every session. A second call
   * joins the first.
   */
  close(): Promise<void>
  readonly isClosed: boolean
}

/** A model of a serving: what you inject, and what a test replaces. */
export interface ModelHandle<I, O, T = never> {
  readonly name: string
  /** As {@link Serving.predict}. */
  predict(input: I, options?: PredictOptions): Promise<Prediction<O>>
  /** As {@link Serving.predictMany}. */
  predictMany(
    inputs: Iterable<I> | AsyncIterable<I>,
    options?: PredictManyOptions,
  ): AsyncIterable<Prediction<O>>
  /** As {@link Serving.predictStream}. */
  predictStream(input: [T] extends [never] ? never : I, options?: PredictStreamOptions): PredictionStream<T>
}

/** A serving without the types of its models: what adapters work with, and every serving is. */
export interface AnyServing extends Omit<
  Serving<unknown, string>,
  'predict' | 'predictMany' | 'predictStream' | 'model'
> {
  predict(model: string, input: unknown, options?: PredictOptions): Promise<AnyPrediction>
  predictMany(
    model: string,
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options?: PredictManyOptions,
  ): AsyncIterable<AnyPrediction>
  predictStream(model: string, input: unknown, options?: PredictStreamOptions): PredictionStream<unknown>
  model(model: string): AnyModelHandle
}

export interface AnyModelHandle {
  readonly name: string
  predict(input: unknown, options?: PredictOptions): Promise<AnyPrediction>
  predictMany(
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options?: PredictManyOptions,
  ): AsyncIterable<AnyPrediction>
  predictStream(input: unknown, options?: PredictStreamOptions): PredictionStream<unknown>
}

/** What every copy of the package knows a serving by. */
export const servingBrand = Symbol.for('mlserving.serving')

/** True for what any copy of the package's `createServing` returned. */
export function isServing(value: unknown): value is AnyServing {
  return typeof value === 'object' && value !== null && servingBrand in value
}
