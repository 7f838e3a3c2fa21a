import type { Registry } from './metrics/registry.js'
import { asServingError, ServingError } from './errors.js'
import { LoopDelay } from './health/loop-delay.js'
import { readiness, type ReadinessReport } from './health/health.js'
import { consoleLogger, isLogger, type Logger } from './logger.js'
import { Metrics } from './metrics/metrics.js'
import type { Scored } from './models/classification.js'
import { definitionOf, type AnyModel, type Json, type Model } from './models/definition.js'
import { setPermits } from './execution/permits.js'
import { learntOption, type Learnt } from './models/learnt.js'
import { ModelManager } from './models/manager.js'
import { watchOption, type WatchOptions } from './models/watch-options.js'
import { checkStages } from './models/pipeline-graph.js'
import { namePattern } from './models/repository.js'
import type { ModelDefinition } from './models/model-definition.js'
import { tensorRequestFields, type TensorRequest } from './models/tensor-codec.js'
import {
  checkFields,
  fields,
  integer,
  isPlainObject,
  oneOf,
  provided,
  show,
  text,
  type Fields,
} from './options.js'
import { replicaFields, type ReplicaOptions } from './state/replicas.js'
import { predictMany, type PredictManyOptions } from './predict-many.js'
import { infer, predict, type PredictHost } from './predict.js'
import type { AnyPrediction, Inference, PredictionMeta, PredictOptions } from './prediction.js'

export interface ServingOptions {
  /** The model of a request that names none. Default: the only model, where there is one. */
  readonly defaultModel?: string
  /** Default: warnings and errors go to the console. */
  readonly logger?: Logger
  /** Where the metrics go, prom-client's `register` for instance. Default: a registry of its own. */
  readonly registry?: Registry
  /**
   * Cores that the sessions of the process compute on together; the last serving to say so is heeded. Default: the
   * cores, or the cgroup's quota where that is less. A worker of a cluster can't count its siblings: its host says.
   */
  readonly permits?: number
  /**
   * How far behind the event loop may be, in milliseconds: a request that comes while it is further is refused with
   * OVERLOADED, rather than wait with all others. It stays ready: else all replicas would leave together. 0: any.
   * Default: 1000.
   */
  readonly maxEventLoopDelayMs?: number
  /** What another process has learnt of the same artifacts: `serving.models.learned()`. Default: nothing. */
  readonly learned?: Learnt
  /** How long `close` waits for requests under way before it refuses them, in milliseconds. Default: 30,000. */
  readonly drainTimeoutMs?: number
  /**
   * Looks again and again for models, versions and configuration that changed: in the repository, and in each model's own
   * folder. `true` takes the defaults. Default: off, folders are read once.
   */
  readonly watch?: true | WatchOptions
  /**
   * A folder for what is kept on disk: artifacts that were fetched or given as bytes, and what the processes that share it
   * have decided to serve, which outlives them. Default: the user's cache folder, and the process decides alone.
   */
  readonly stateDir?: string
  /** How the processes of `stateDir` agree. */
  readonly replicas?: ReplicaOptions
  /**
   * Models that may be loaded, or being loaded, at once: beyond it, lazy ones that nobody uses are unloaded, the least
   * recently used first. Default: any number.
   */
  readonly maxLoadedModels?: number
  /**
   * Bytes that loaded artifacts may take together: the size of their files in each session, twice that while one is
   * created. Lazy models make room as for `maxLoadedModels`. Default: any number.
   */
  readonly memoryLimitBytes?: number
}

export interface CreateServingOptions extends ServingOptions {
  /** Models by name, made by {@link onnx}, {@link custom} or {@link pipeline}. */
  readonly models?: Readonly<Record<string, AnyModel>>
  /** A folder of `<model>/<version>/model.onnx`, all of which are served. */
  readonly repository?: string
}

/** Names and models of a repository folder, for types: augmented by the user; empty, any name is accepted. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- an interface, since only these can be augmented
export interface FolderModels {}

type FolderName = [keyof FolderModels] extends [never] ? string & {} : Extract<keyof FolderModels, string>
/** The model of a name. What a model that only the folder knows answers is the user's to know: `any`, as JSON.parse's. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- see above
export type At<M, K> = K extends keyof M ? M[K] : Model<Json, any>
export type In<M> = M extends Model<infer I, infer _> ? I : never
export type Out<M> = M extends Model<infer _, infer O> ? O : never
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
   * Asks an ONNX model in tensors, and answers in tensors: past its `input` schema, `encode` and `decode`, but on the path
   * of every prediction. Arrays are copied, and may be changed afterwards, unless `transfer` gives them away.
   * @throws ServingError as {@link predict}; INVALID_REQUEST for a model of code or a pipeline, which takes no tensors
   */
  infer(model: N, request: TensorRequest, options?: PredictOptions): Promise<Inference>
  /** One model, to be handed to code that needs no other. */
  model<K extends N>(model: K): ModelHandle<In<At<M, K>>, Out<At<M, K>>>
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
export interface ModelHandle<I, O> {
  readonly name: string
  /** As {@link Serving.predict}. */
  predict(input: I, options?: PredictOptions): Promise<Prediction<O>>
  /** As {@link Serving.predictMany}. */
  predictMany(
    inputs: Iterable<I> | AsyncIterable<I>,
    options?: PredictManyOptions,
  ): AsyncIterable<Prediction<O>>
}

export const servingFields: Fields<CreateServingOptions> = {
  defaultModel: text,
  logger: provided('a logger with debug, info, warn and error', isLogger),
  registry: provided("prom-client's Registry", (value) => isPlainObject(value) && 'getSingleMetric' in value),
  models: provided('an object of models by name', isPlainObject),
  repository: text,
  permits: integer(1, 1024),
  maxEventLoopDelayMs: integer(0),
  learned: learntOption,
  drainTimeoutMs: integer(0, 2 ** 31 - 1),
  watch: watchOption,
  stateDir: text,
  maxLoadedModels: integer(1),
  memoryLimitBytes: integer(1),
  replicas: fields(replicaFields),
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

const { requestId: _, whenFull: __, ...sharedFields } = predictFields
export const predictManyFields: Fields<PredictManyOptions> = {
  ...sharedFields,
  maxInFlight: integer(1, 100_000),
}

const brand = Symbol.for('mlserving.serving')

/**
 * Makes a serving and begins to load its models, without waiting for them: {@link Serving.ready} does. A model
 * that is missing or broken shows there; a wrong option throws here.
 *
 * @param options a repository folder, or the options
 * @throws ServingError INVALID_OPTIONS
 */
export function createServing<
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type -- no models: no names
  const M extends Readonly<Record<string, AnyModel>> = {},
  const D extends string | undefined = undefined,
>(
  options: string | ({ readonly models?: M; readonly repository?: D } & ServingOptions),
): Serving<
  M & FolderModels,
  [keyof M, D] extends [never, unknown]
    ? FolderName
    : (keyof M & string) | (D extends string ? FolderName : never)
> {
  const given: unknown = typeof options === 'string' ? { repository: options } : options
  checkFields<CreateServingOptions>(given, servingFields, 'createServing()', 'INVALID_OPTIONS')
  return new RunningServing(given) as never
}

/** A serving without the types of its models: what adapters work with, and every serving is. */
export interface AnyServing extends Omit<Serving<unknown, string>, 'predict' | 'predictMany' | 'model'> {
  predict(model: string, input: unknown, options?: PredictOptions): Promise<AnyPrediction>
  predictMany(
    model: string,
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options?: PredictManyOptions,
  ): AsyncIterable<AnyPrediction>
  model(model: string): AnyModelHandle
}

export interface AnyModelHandle {
  readonly name: string
  predict(input: unknown, options?: PredictOptions): Promise<AnyPrediction>
  predictMany(
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options?: PredictManyOptions,
  ): AsyncIterable<AnyPrediction>
}

/** True for what any copy of the package's `createServing` returned. */
export function isServing(value: unknown): value is AnyServing {
  return typeof value === 'object' && value !== null && brand in value
}

class RunningServing implements AnyServing, PredictHost {
  readonly [brand] = true
  readonly models: ModelManager
  readonly metrics: Metrics
  readonly defaultModel: string | undefined
  readonly logger: Logger
  private readonly loopDelay: LoopDelay
  #underWay = 0
  #draining: Promise<void> | undefined
  /** Ends the drain that waits for requests under way. */
  #drained: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor({
    models = {},
    repository,
    defaultModel,
    logger = consoleLogger,
    registry,
    permits,
    maxEventLoopDelayMs = 1000,
    learned,
    drainTimeoutMs,
    watch,
    stateDir,
    maxLoadedModels,
    memoryLimitBytes,
    replicas,
  }: CreateServingOptions) {
    this.loopDelay = new LoopDelay(maxEventLoopDelayMs)
    if (permits !== undefined) setPermits(permits)
    this.defaultModel = defaultModel
    this.logger = logger
    this.metrics = new Metrics(registry, () => this.models.status())
    this.models = new ModelManager({
      logger,
      ...(drainTimeoutMs !== undefined && { drainTimeoutMs }),
      ...(learned !== undefined && { learned }),
      maxLoadedModels,
      memoryLimitBytes,
      ...(replicas !== undefined && { replicas }),
      onLoaded: (model, version, loadTimeMs) => this.metrics.loaded(model, version, loadTimeMs),
      watch,
      stateDir,
      onLoadFailed: (model, version) => this.metrics.loadFailed(model, version),
      onConfigFailed: (model) => this.metrics.configFailed(model),
      onRun: (model, version, rows, computeMs) => this.metrics.ran(model, version, rows, computeMs),
      onShadow: (model, version, result) => this.metrics.shadowed(model, version, result),
    })
    this.models.onChange((change) => {
      this.metrics.changed(this.models.has(change.model) ? change.model : undefined, change)
    })
    this.models.start(repository, definitionsOf(models, repository === undefined))
  }

  predict(model: string, input: unknown, options?: PredictOptions): Promise<AnyPrediction> {
    try {
      if (options !== undefined)
        checkFields<PredictOptions>(options, predictFields, 'predict()', 'INVALID_REQUEST')
    } catch (error) {
      return Promise.reject(asServingError(error))
    }
    return predict(this, model, input, options)
  }

  infer(model: string, request: TensorRequest, options?: PredictOptions): Promise<Inference> {
    try {
      checkFields<TensorRequest>(request, tensorRequestFields, 'infer()', 'INVALID_REQUEST')
      if (options !== undefined)
        checkFields<PredictOptions>(options, predictFields, 'infer()', 'INVALID_REQUEST')
    } catch (error) {
      return Promise.reject(asServingError(error))
    }
    return infer(this, model, request, options)
  }

  get refusal(): ServingError | undefined {
    return this.loopDelay.refusal
  }

  began(): void {
    this.#underWay++
    this.loopDelay.used()
  }

  ended(): void {
    if (--this.#underWay === 0) this.#drained?.()
  }

  predictMany(
    model: string,
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options: PredictManyOptions = {},
  ): AsyncIterable<AnyPrediction> {
    checkFields<PredictManyOptions>(options, predictManyFields, 'predictMany()', 'INVALID_REQUEST')
    return predictMany(inputs, (input, each) => this.predict(model, input, each), options)
  }

  model(name: string): AnyModelHandle {
    return {
      name,
      predict: (input, options) => this.predict(name, input, options),
      predictMany: (inputs, options) => this.predictMany(name, inputs, options),
    }
  }

  ready(): Promise<void> {
    return this.models.ready()
  }

  readiness(): ReadinessReport {
    if (this.#closing !== undefined) return readiness(['the serving is closing'])
    const problems = this.#draining === undefined ? this.models.problems() : ['the serving is draining']
    return readiness(problems, this.models.replicas)
  }

  drain(): Promise<void> {
    return (this.#draining ??= this.#drain())
  }

  async #drain(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  close(): Promise<void> {
    return (this.#closing ??= this.models.close().finally(() => this.metrics.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** @param isComplete whether there are no models but these */
function definitionsOf(
  models: Readonly<Record<string, AnyModel>>,
  isComplete: boolean,
): Map<string, ModelDefinition> {
  const definitions = new Map<string, ModelDefinition>()
  for (const [name, model] of Object.entries(models)) {
    if (!namePattern.test(name)) {
      throw new ServingError(
        'INVALID_OPTIONS',
        `createServing(): ${show(name)} can't name a model: it must match ${namePattern.source}.`,
      )
    }
    const definition = definitionOf(model)
    if (definition === undefined) {
      throw new ServingError(
        'INVALID_OPTIONS',
        `createServing(): models.${name} must be made by onnx(), custom() or pipeline(); got ${show(model)}.`,
      )
    }
    if (definition.options.fallback === name) {
      throw new ServingError('INVALID_OPTIONS', `createServing(): models.${name} can't be its own fallback.`)
    }
    definitions.set(name, definition)
  }
  checkStages(definitions, isComplete)
  return definitions
}
