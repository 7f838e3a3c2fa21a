import { asServingError, ServingError } from './errors.js'
import { setPermits } from './execution/permits.js'
import { readiness, type ReadinessReport } from './health/health.js'
import { LoopDelay } from './health/loop-delay.js'
import { consoleLogger, type Logger } from './logger.js'
import { Metrics } from './metrics/metrics.js'
import { definitionOf, type AnyModel } from './models/definition.js'
import { ModelManager } from './models/manager.js'
import type { ModelDefinition } from './models/model-definition.js'
import { checkStages } from './models/pipeline-graph.js'
import { namePattern } from './models/repository.js'
import { tensorRequestFields, type TensorRequest } from './models/tensor-codec.js'
import { checkFields, show } from './options.js'
import { predictMany, predictManyFields, type PredictManyOptions } from './predict-many.js'
import {
  predictStream,
  predictStreamFields,
  type PredictionStream,
  type PredictStreamOptions,
} from './predict-stream.js'
import { infer, predict, type PredictHost } from './predict.js'
import { predictFields, type AnyPrediction, type Inference, type PredictOptions } from './prediction.js'
import { isOver } from './rollout/rollout-host.js'
import { servingFields, type CreateServingOptions, type ServingOptions } from './serving-options.js'
import {
  servingBrand,
  type AnyModelHandle,
  type AnyServing,
  type FolderModels,
  type FolderName,
  type Serving,
} from './serving.js'

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

class RunningServing implements AnyServing, PredictHost {
  readonly [servingBrand] = true
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
    this.metrics = new Metrics(
      registry,
      () => this.models.status(),
      () => this.models.replicas?.generation,
    )
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
      onRollout: (model, { version, phase }) => {
        if (isOver(phase)) this.metrics.rolledOut(model, version, phase)
      },
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

  predictStream(
    model: string,
    input: unknown,
    options: PredictStreamOptions = {},
  ): PredictionStream<unknown> {
    checkFields<PredictStreamOptions>(options, predictStreamFields, 'predictStream()', 'INVALID_REQUEST')
    return predictStream(this, model, input, options)
  }

  model(name: string): AnyModelHandle {
    return {
      name,
      predict: (input, options) => this.predict(name, input, options),
      predictMany: (inputs, options) => this.predictMany(name, inputs, options),
      predictStream: (input, options) => this.predictStream(name, input, options),
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
        `createServing(): models.${name} must be made by onnx(), custom() or pipeline(); got ${show(model)}. One on another server is made by remote().`,
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
