import { basename, resolve } from 'node:path'
import { LimitsWatch, type WaitLimits } from '../batching/limits-watch.js'
import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { LearntStore, type Learnt } from './learnt.js'
import { consoleLogger, type Logger } from '../logger.js'
import { nearest } from '../options.js'
import { Changes, type ChangeListener, type ChangeOrigin } from './changes.js'
import { isChecked, type HttpProfile } from './exposure.js'
import { forClients, listModels } from './repository.js'
import { CutOff } from './cut-off.js'
import { checkName, closed, quote } from './names.js'
import {
  ServedModel,
  type LoadOptions,
  type ModelDefinition,
  type ModelHost,
  type RollbackResult,
} from './served-model.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import { Replicas, type ReplicaOptions } from '../state/replicas.js'
import { Stages } from './stages.js'
import type { Lease } from './lease.js'

export interface ModelManagerOptions {
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger
  /** Told of each version that was loaded. */
  readonly onLoaded?: (model: string, version: string, loadTimeMs: number) => void
  /** Told of each run that succeeded, of one or more requests. */
  readonly onRun?: (model: string, version: string, rows: number, computeMs: number) => void
  readonly clock?: Clock
  /** What another process has learnt of the artifacts: {@link ModelManager.learned}. */
  readonly learned?: Learnt
  /** How long {@link ModelManager.close} waits for requests under way. Default: 30,000. */
  readonly drainTimeoutMs?: number
  /** The folder where processes agree on what they serve. Default: none, this one is alone. */
  readonly stateDir?: string
  /** How they agree. */
  readonly replicas?: ReplicaOptions
}

/**
 * The models of a process: their versions, which of them serves, and every change to that. Usable on its own:
 * `await new ModelManager().load('churn', '1', { source: './churn.onnx' })`.
 */
export class ModelManager<N extends string = string> {
  readonly #models = new Map<string, ServedModel>()
  readonly #host: Required<Omit<ModelManagerOptions, 'learned' | 'stateDir' | 'replicas'>> & ModelHost
  /** Models that only a call of `load` spoke of, by the number of those calls under way. */
  readonly #provisional = new Map<ServedModel, number>()
  readonly #warned = new Set<string>()
  readonly #stages = new Stages((model) => this.#known(model))
  readonly #limits: LimitsWatch
  readonly #changes: Changes
  readonly #replicas: Replicas | undefined
  /** Settles once every model is known; never rejects. */
  #starting: Promise<void> = Promise.resolve()
  #started = true
  #startupError: ServingError | undefined
  #closing: Promise<void> | undefined

  constructor({ learned, stateDir, replicas = {}, ...options }: ModelManagerOptions = {}) {
    this.#host = {
      logger: consoleLogger,
      clock: systemClock,
      onLoaded: () => {},
      onRun: () => {},
      drainTimeoutMs: 30_000,
      ...options,
      cutOff: new CutOff(),
      learnt: new LearntStore(learned),
      stages: this.#stages,
      desiredVersion: (model) => this.#replicas?.currentOf(model),
    }
    this.#limits = new LimitsWatch(this.#host.clock)
    this.#changes = new Changes(this.#host.logger)
    if (stateDir !== undefined) {
      const { logger, clock } = this.#host
      const host = { models: this.#models, changes: this.#changes, logger, clock }
      this.#replicas = new Replicas(stateDir, replicas, host)
    }
  }

  /** Finds the models of a repository and of code, and begins to load the version of each that is to serve. */
  start(repository: string | undefined, definitions: ReadonlyMap<string, ModelDefinition>): void {
    this.#started = false
    this.#starting = this.#start(repository, definitions).finally(() => (this.#started = true))
  }

  async #start(
    repository: string | undefined,
    definitions: ReadonlyMap<string, ModelDefinition>,
  ): Promise<void> {
    await this.#replicas?.open()
    const all = new Map(definitions)
    if (repository !== undefined) {
      try {
        for (const [name, source] of await listModels(repository)) {
          if (!all.has(name)) all.set(name, { kind: 'onnx', source, options: {} })
        }
      } catch (error) {
        const failure = asServingError(error)
        this.#startupError = forClients(failure, repository, basename(resolve(repository)))
        this.#host.logger.error({ err: error }, failure.message)
      }
    }
    for (const [name, definition] of all) void this.#add(name, definition).begin()
    this.#replicas?.start()
  }

  /** What the replicas of {@link ModelManagerOptions.stateDir} agree on; undefined where this process is alone. */
  get replicas(): Replicas | undefined {
    return this.#replicas
  }

  #add(name: string, definition: ModelDefinition): ServedModel {
    const model = new ServedModel(name, definition, this.#host)
    this.#models.set(name, model)
    return model
  }

  /** Settles once the models of code and of the repository are known, loaded or not. */
  async listed(): Promise<void> {
    await this.#starting
  }

  /** Whether {@link listed} has settled. */
  get isListed(): boolean {
    return this.#started
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
   * What the runs of the models have taught: what batches cost, and where sessions serve best; plain JSON by the SHA-256
   * of each artifact. Given to another process as `learned`, its models begin with it.
   */
  learned(): Learnt {
    for (const { versions } of this.#models.values()) for (const version of versions.values()) version.learn()
    return this.#host.learnt.toJSON()
  }

  /**
   * Tells of each change that was asked for, once it is done or has failed: what an audit trail is made of. What a
   * listener throws is logged.
   * @returns ends the subscription
   */
  onChange(listener: ChangeListener): () => void {
    return this.#changes.listen(listener)
  }

  /** What each version is at this moment: what metrics read. */
  *status() {
    for (const [model, { versions }] of this.#models) {
      for (const version of versions.values()) yield { model, ...version.status }
    }
  }

  /**
   * Loads a version beside those that serve. The first version of a model becomes current, a later one when it
   * is activated or switched to. A failed load leaves what serves untouched.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, CLOSED
   */
  load(model: N, version: string, options: LoadOptions = {}): Promise<ModelSnapshot> {
    const action = options.activate === true ? 'switch' : 'load'
    return this.#changes.record({ action, model, to: version }, options, async (change) => {
      const found = await this.#known(model, options.source)
      const calls = this.#provisional.get(found)
      if (calls !== undefined) this.#provisional.set(found, calls + 1)
      try {
        const isShared = options.source === undefined
        const isSwitch = options.activate === true
        if (isShared && isSwitch) change.from = await this.#switch(found, version, options)
        else {
          const from = await found.load(version, options)
          if (isSwitch) change.from = from
          else if (isShared) await this.#replicas?.keepLoaded(model, version, true, options)
        }
        this.#provisional.delete(found)
      } catch (error) {
        this.#forget(found)
        throw error
      }
      return snapshot(found)
    })
  }

  /**
   * Makes a version the one that serves, loading it first where needed. Requests under way end on the version
   * they began with; the one that served before stays loaded (`keepPrevious`).
   * @throws ServingError as {@link load}
   */
  switchVersion(model: N, version: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#changes.record({ action: 'switch', model, to: version }, origin, async (change) => {
      const found = await this.#known(model)
      change.from = found.current?.name // if it fails, that goes on to serve
      change.from = await this.#switch(found, version, origin)
      return snapshot(found)
    })
  }

  /**
   * Goes back to the version that served before the last switch, and with each further call one more.
   * @throws ServingError MODEL_NOT_FOUND; CONFLICT where there was no switch; as {@link load} where it must reload
   */
  rollback(model: N, origin: ChangeOrigin = {}): Promise<RollbackResult> {
    return this.#changes.record({ action: 'rollback', model }, origin, async (change) => {
      const found = await this.#known(model)
      change.from = found.current?.name
      const result = await (this.#replicas?.rollback(found, origin) ?? found.rollback())
      change.from = result.from
      change.to = result.version
      return result
    })
  }

  /**
   * Frees a version that is not current, or without `version` the whole model, once the requests on it have ended.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND; CONFLICT for the version that serves
   */
  unload(model: N, version?: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#changes.record({ action: 'unload', model, from: version }, origin, async (change) => {
      const found = await this.#known(model)
      change.from = version ?? found.current?.name
      await found.unload(version)
      if (version !== undefined) await this.#replicas?.keepLoaded(model, version, false, origin)
      return snapshot(found)
    })
  }

  /** Makes a version current, of all replicas where there are others. @returns the one that was until then */
  #switch(model: ServedModel, version: string, origin: ChangeOrigin): Promise<string | undefined> {
    return this.#replicas?.switchTo(model, version, origin) ?? model.load(version, { activate: true })
  }

  /** Forgets a model that only failed loads spoke of, with the last of them. */
  #forget(model: ServedModel): void {
    const calls = this.#provisional.get(model)
    if (calls === undefined) return
    this.#provisional.set(model, calls - 1)
    if (calls > 1) return
    this.#provisional.delete(model)
    this.#models.delete(model.name)
    void model.close()
  }

  /** A model, once all are known; where a source is given also a new one. */
  async #known(name: string, source?: string): Promise<ServedModel> {
    await this.#starting
    if (this.#closing !== undefined) throw closed()
    if (source === undefined || this.#models.has(name)) return this.#model(name)
    checkName('model', name)
    const model = this.#add(name, { kind: 'onnx', source, options: {} })
    this.#provisional.set(model, 0)
    return model
  }

  /** What an HTTP door must know of a model; undefined where there is no such model, or not {@link isListed | yet}. */
  httpProfile(model: string): HttpProfile | undefined {
    const definition = this.#models.get(model)?.definition
    if (definition === undefined) return undefined
    const first = definition.kind === 'pipeline' ? definition.options.entry : undefined
    const profile = first && this.httpProfile(first.model)
    return {
      accepts: definition.options.accepts ?? profile?.accepts ?? [],
      checked: isChecked(definition) || profile?.checked === true,
    }
  }

  /** Whether integers beyond 2^53 must stay exact for a version; undefined while it is not loaded. */
  takesExactIntegers(model: string, version?: string): boolean | undefined {
    const found = this.#models.get(model)
    if (found === undefined) return undefined
    const { definition } = found
    const first = definition.kind === 'pipeline' ? definition.options.entry : undefined
    if (first !== undefined) return this.takesExactIntegers(first.model, first.version)
    const lease = found.tryLease(isLatest(version) ? undefined : version)
    lease?.release()
    return lease?.codec.takesExactIntegers
  }

  /**
   * Takes a lease on a version that can answer: the current one, or the one asked for. A model whose load is under
   * way is waited for, and a lazy one is loaded; everything else is decided at once.
   * @param isStage whether a pipeline asks, whose request was taken in: it is let in although the models are closing
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED, TIMEOUT
   */
  async lease(model: string, version?: string, limits: WaitLimits = {}, isStage = false): Promise<Lease> {
    const lease = this.tryLease(model, version, isStage)
    if (lease !== undefined) return lease
    await this.within(limits, this.#starting)
    const found = this.#model(model)
    await this.within(limits, found.firstLoad)
    if (isLatest(version) || found.isLazy) await this.within(limits, found.wake() ?? Promise.resolve())
    const late = this.tryLease(model, version, isStage)
    if (late !== undefined) return late
    throw this.#notReady(found, version)
  }

  /**
   * A lease on a version that a request had one on, for another attempt: where its session died, once it was loaded
   * again, if that is to be soon.
   * @throws ServingError MODEL_NOT_READY, VERSION_NOT_FOUND, CLOSED, ABORTED, TIMEOUT
   */
  async leaseAgain(model: string, version: string, limits: WaitLimits): Promise<Lease> {
    const found = this.#model(model)
    let lease = this.tryLease(model, version)
    if (lease === undefined) {
      await this.within(limits, found.comeback(version) ?? Promise.resolve())
      lease = this.tryLease(model, version)
    }
    if (lease === undefined) throw this.#notReady(found, version)
    return lease
  }

  /** A lease, where one is to be had at once: the path of nearly every request. @throws ServingError CLOSED */
  tryLease(model: string, version?: string, isStage = false): Lease | undefined {
    if (this.#closing !== undefined && !isStage) throw closed()
    const lease = this.#models.get(model)?.tryLease(isLatest(version) ? undefined : version)
    return lease?.isPipeline === true ? this.#stages.known(lease) : lease
  }

  #notReady(model: ServedModel, version: string | undefined): ServingError {
    const asked = version === undefined || isLatest(version) ? undefined : model.version(version)
    if (asked?.state === 'registered' || asked?.state === 'unloaded') {
      return new ServingError(
        'VERSION_NOT_FOUND',
        `${asked.label} is not loaded. Serving: ${model.current?.name ?? 'none'}.`,
      )
    }
    const target = asked ?? model.current ?? model.loading
    const reason = asked === undefined ? (model.failure ?? target?.reason) : asked.reason
    const state = target === undefined ? 'no version is loaded' : `${target.label} is ${target.state}`
    const retryAfter = Math.max(1, Math.ceil(model.retryInMs / 1000))
    return new ServingError(
      'MODEL_NOT_READY',
      `model "${model.name}" can't serve: ${reason?.message ?? state}`,
      {
        cause: reason,
        headers: { 'retry-after': `${retryAfter}` },
      },
    )
  }

  /**
   * Waits until every model serves, or has served; a lazy one is not waited for.
   * @throws ServingError MODEL_NOT_READY that names each model that does not, and why
   */
  async ready(): Promise<void> {
    await this.#starting
    await Promise.all([...this.#models.values()].map((model) => model.firstLoad))
    const problems = this.problems()
    if (problems.length > 0) throw new ServingError('MODEL_NOT_READY', problems.join('; '))
  }

  /** What keeps {@link ready} from being true now; empty when every model has served. */
  problems(): string[] {
    const models = [...this.#models.values()].filter(({ hasServed, isLazy }) => !hasServed && !isLazy)
    const problems = models.map((model) => this.#notReady(model, undefined).message)
    if (!this.#started) problems.unshift('the models are still being looked up')
    return this.#startupError === undefined ? problems : [this.#startupError.message, ...problems]
  }

  /**
   * Refuses new requests, ends every change and request under way, then frees all versions; those of pipelines end
   * first, since they ask others. Requests that take longer
   * than `drainTimeoutMs` are refused with CLOSED; what the runtime computes in this process is waited for. A second
   * call joins the first.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await this.#starting
    await this.#replicas?.close()
    const { clock, drainTimeoutMs, cutOff } = this.#host
    const timer = clock.setTimer(() => cutOff.now(), drainTimeoutMs)
    await cutOff.within(this.#stages.unasked()).catch(() => {}) // those that take too long are refused below
    await Promise.all([...this.#models.values()].map((model) => model.close()))
    timer.clear()
    // What still waits, such as an encode that never ends, waits for nothing any more.
    cutOff.now()
  }

  /** The model that answers where `model` can't. */
  fallbackOf(model: string): string | undefined {
    const fallback = this.#models.get(model)?.options.fallback
    if (fallback === undefined || this.#models.has(fallback)) return fallback
    if (this.#warned.has(model)) return undefined
    this.#warned.add(model)
    this.#host.logger.warn({ model, fallback }, `${model} has a fallback that is no model: ${fallback}`)
    return undefined
  }

  /** Whether `model` may have a fallback; false only once that is known. */
  mayFallBack(model: string): boolean {
    if (!this.#started) return true
    const found = this.#models.get(model)
    return found !== undefined && (found.options.fallback !== undefined || !found.hasServed)
  }

  /** Waits for a promise as long as the limits allow, and a close. @throws ServingError ABORTED, TIMEOUT; what the promise does */
  within<T>(limits: WaitLimits, promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // Also where nobody waits for it: else its failure would be nobody's, and end the process.
      promise.then(resolve, reject)
      const met = this.#limits.expired(limits)
      if (met !== undefined) return reject(met)
      const unwatch = this.#limits.watch(limits, reject)
      const forget = this.#host.cutOff.onCutOff(() => reject(closed()))
      const end = () => {
        unwatch()
        forget()
      }
      promise.then(end, end)
    })
  }

  #model(name: string): ServedModel {
    const model = this.#models.get(name)
    if (model !== undefined) return model
    const names = this.names()
    const near = name.length > 128 ? undefined : nearest(name, names)
    const known =
      names.length === 0 ? 'No model is served.' : `The models are ${names.slice(0, 20).join(', ')}.`
    throw new ServingError(
      'MODEL_NOT_FOUND',
      `no model ${quote(name)}. ${near === undefined ? known : `Did you mean "${near}"?`}`,
    )
  }
}

function isLatest(version: string | undefined): boolean {
  return version === undefined || version === 'latest'
}
