import { join } from 'node:path'
import { LimitsWatch, type WaitLimits } from '../batching/limits-watch.js'
import { systemClock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { consoleLogger, type Logger } from '../logger.js'
import { nearest } from '../options.js'
import { readModelConfig } from './model-config.js'
import { quote, ServedModel } from './served-model.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import { isFolder, listModels, listVersions, namePattern } from './repository.js'
import type { Lease, ModelVersion, VersionOptions } from './version.js'

export interface LoadOptions {
  /** The artifact of a version that the model's folder does not hold: an `.onnx` file, or its folder. */
  readonly source?: string
  /** Makes the version current once it is loaded. Default: only where the model has no current version. */
  readonly activate?: boolean
}

/** A model to serve, as `createServing` hands it over. */
export interface ModelDefinition {
  readonly source: string
  readonly options: VersionOptions
}

export interface ModelManagerOptions {
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger
  /** Told of each version that was loaded. */
  readonly onLoaded?: (model: string, version: string, loadTimeMs: number) => void
}

/**
 * The models of a process: their versions, which of them serves, and every change to that. Usable on its own:
 * `await new ModelManager().load('churn', '1', { source: './churn.onnx' })`.
 */
export class ModelManager<N extends string = string> {
  readonly #models = new Map<string, ServedModel>()
  readonly #logger: Logger
  readonly #limits = new LimitsWatch(systemClock)
  readonly #onLoaded: NonNullable<ModelManagerOptions['onLoaded']>
  /** Settles once every model is known; never rejects. */
  #starting: Promise<void> = Promise.resolve()
  #started = true
  #startupError: ServingError | undefined
  #closing: Promise<void> | undefined

  constructor({ logger = consoleLogger, onLoaded = () => {} }: ModelManagerOptions = {}) {
    this.#logger = logger
    this.#onLoaded = onLoaded
  }

  /** Finds the models of a repository and of code, and begins to load the current version of each. */
  start(repository: string | undefined, definitions: ReadonlyMap<string, ModelDefinition>): void {
    this.#started = false
    this.#starting = this.#start(repository, definitions).finally(() => (this.#started = true))
  }

  async #start(
    repository: string | undefined,
    definitions: ReadonlyMap<string, ModelDefinition>,
  ): Promise<void> {
    const all = new Map(definitions)
    if (repository !== undefined) {
      try {
        for (const [name, source] of await listModels(repository)) {
          if (!all.has(name)) all.set(name, { source, options: {} })
        }
      } catch (error) {
        this.#startupError = asServingError(error)
        this.#logger.error({ err: error }, this.#startupError.message)
      }
    }
    for (const [name, definition] of all) this.#discover(name, definition)
  }

  #discover(name: string, { source, options }: ModelDefinition): void {
    const model = new ServedModel(name, source, options)
    this.#models.set(name, model)
    model.firstLoad = this.#change(model, () => this.#loadFirst(model)).catch((error: unknown) => {
      model.failure = asServingError(error)
      this.#logger.error({ err: error, model: name }, `model ${name} can't serve: ${model.failure.message}`)
    })
  }

  async #loadFirst(model: ServedModel): Promise<void> {
    const { source, options } = model
    // What code says wins over what the folder says.
    if (await isFolder(source))
      model.options = { ...(await readModelConfig(join(source, 'model.json'))), ...options }
    model.register(await listVersions(source))
    const first = model.options.current ?? model.versionNames()[0]
    if (first !== undefined) await this.#load(model, first, { activate: true })
  }

  /** The names of all models, sorted. */
  names(): N[] {
    return [...this.#models.keys()].sort() as N[]
  }

  has(model: string): boolean {
    return this.#models.has(model)
  }

  /** @throws ServingError MODEL_NOT_FOUND */
  get(model: N): ModelSnapshot {
    return snapshot(this.#model(model))
  }

  list(): ModelSnapshot[] {
    return this.names().map((name) => this.get(name))
  }

  /**
   * Loads a version beside those that serve. The first version of a model becomes current, a later one when it
   * is activated or switched to. A failed load leaves what serves untouched.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, CLOSED
   */
  async load(model: N, version: string, options: LoadOptions = {}): Promise<ModelSnapshot> {
    await this.#starting
    const found = this.#models.get(model) ?? this.#create(model, options.source)
    try {
      await this.#change(found, () => this.#load(found, version, options))
    } finally {
      // A model that only this call spoke of, and of which nothing was found, is forgotten.
      if (found.versions.size === 0 && found.source === options.source) this.#models.delete(model)
    }
    return snapshot(found)
  }

  /**
   * Makes a version the one that serves, loading it first where needed. Requests under way end on the version
   * they began with; the one that served before stays loaded.
   * @throws ServingError as {@link load}
   */
  async switchVersion(model: N, version: string): Promise<ModelSnapshot> {
    await this.#starting
    const found = this.#model(model)
    await this.#change(found, () => this.#load(found, version, { activate: true }))
    return snapshot(found)
  }

  #create(name: string, source: string | undefined): ServedModel {
    if (source === undefined) throw this.#notFound(name)
    checkName('model', name)
    const model = new ServedModel(name, source, {})
    this.#models.set(name, model)
    return model
  }

  async #load(model: ServedModel, name: string, { source, activate }: LoadOptions): Promise<void> {
    if (!model.versions.has(name)) {
      checkName('version', name)
      const found = await listVersions(source ?? model.source)
      const only = source !== undefined && found.length === 1 ? found[0] : undefined
      model.register(only === undefined ? found : [{ ...only, version: name }])
    }
    const version = model.version(name)
    await this.#loadVersion(model, version)
    if (activate !== true && model.current !== undefined) return
    const retired = model.activate(version)
    model.failure = undefined
    this.#logger.info({ model: model.name, version: name }, `${version.label} serves`)
    if (retired !== undefined) {
      // Not awaited: its last requests may take their time, and nothing hangs on them.
      retired
        .unload()
        .catch((error: unknown) => this.#logger.error({ err: error }, `${retired.label} did not unload`))
    }
  }

  async #loadVersion(model: ServedModel, version: ModelVersion): Promise<void> {
    if (version.state === 'ready') return
    await version.load()
    this.#onLoaded(model.name, version.name, version.loadTimeMs ?? 0)
  }

  #change<T>(model: ServedModel, operation: () => Promise<T>): Promise<T> {
    return model.change(() => {
      if (this.#closing !== undefined) throw closed()
      return operation()
    })
  }

  /**
   * Takes a lease on a version that can answer: the current one, or the one asked for. A model whose first load
   * is under way is waited for; everything else is decided at once.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED, TIMEOUT
   */
  async lease(model: string, version?: string, limits: WaitLimits = {}): Promise<Lease> {
    const lease = this.tryLease(model, version)
    if (lease !== undefined) return lease
    await this.#within(limits, this.#starting)
    const found = this.#model(model)
    await this.#within(limits, found.firstLoad)
    const late = this.tryLease(model, version)
    if (late !== undefined) return late
    throw this.#notReady(found, version)
  }

  /** A lease, where one is to be had at once: the path of nearly every request. */
  tryLease(model: string, version?: string): Lease | undefined {
    if (this.#closing !== undefined) throw closed()
    const found = this.#models.get(model)
    const isLatest = version === undefined || version === 'latest'
    return (isLatest ? found?.current : found?.versions.get(version))?.lease()
  }

  #notReady(model: ServedModel, version: string | undefined): ServingError {
    const asked = version === undefined || version === 'latest' ? undefined : model.version(version)
    if (asked?.state === 'registered' || asked?.state === 'unloaded') {
      return new ServingError(
        'VERSION_NOT_FOUND',
        `${asked.label} is not loaded. Serving: ${model.current?.name ?? 'none'}.`,
      )
    }
    const target = asked ?? model.current ?? model.loading
    const reason = target?.reason ?? (asked === undefined ? model.failure : undefined)
    const state = target === undefined ? 'no version is loaded' : `${target.label} is ${target.state}`
    const why = reason?.message ?? state
    return new ServingError('MODEL_NOT_READY', `model "${model.name}" can't serve: ${why}`, { cause: reason })
  }

  /**
   * Waits until every model serves.
   * @throws ServingError MODEL_NOT_READY that names each model that does not, and why
   */
  async ready(): Promise<void> {
    await this.#starting
    await Promise.all([...this.#models.values()].map((model) => model.firstLoad))
    const problems = this.problems()
    if (problems.length > 0) throw new ServingError('MODEL_NOT_READY', problems.join('; '))
  }

  /** What keeps {@link ready} from being true now; empty when every model serves. */
  problems(): string[] {
    const models = [...this.#models.values()].filter((model) => model.current === undefined)
    const problems = models.map((model) => this.#notReady(model, undefined).message)
    if (!this.#started) problems.unshift('the models are still being looked up')
    return this.#startupError === undefined ? problems : [this.#startupError.message, ...problems]
  }

  /** Ends every change and request under way, then frees all versions. A second call joins the first. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await this.#starting
    const unload = (model: ServedModel) =>
      model.change(() => Promise.all([...model.versions.values()].map((version) => version.unload())))
    await Promise.all([...this.#models.values()].map(unload))
  }

  /** Waits for a promise as long as the limits allow. */
  #within<T>(limits: WaitLimits, promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const met = this.#limits.expired(limits)
      if (met !== undefined) return reject(met)
      const unwatch = this.#limits.watch(limits, reject)
      promise.then(resolve, reject).finally(unwatch)
    })
  }

  #model(name: string): ServedModel {
    const model = this.#models.get(name)
    if (model === undefined) throw this.#notFound(name)
    return model
  }

  #notFound(name: string): ServingError {
    const names = this.names()
    const near = name.length > 128 ? undefined : nearest(name, names)
    const known =
      names.length === 0 ? 'No model is served.' : `The models are ${names.slice(0, 20).join(', ')}.`
    return new ServingError(
      'MODEL_NOT_FOUND',
      `no model ${quote(name)}. ${near === undefined ? known : `Did you mean "${near}"?`}`,
    )
  }
}

function checkName(what: string, name: string): void {
  if (namePattern.test(name) && name !== 'latest') return
  throw new ServingError(
    'INVALID_OPTIONS',
    `${quote(name)} can't name a ${what}: use letters, digits, "_", "-" and ".", beginning with a letter or digit, and not "latest".`,
  )
}

function closed(): ServingError {
  return new ServingError('CLOSED', 'the serving is closed')
}
