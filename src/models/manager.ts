import { basename, resolve } from 'node:path'
import type { SubmitOptions } from '../batching/batcher.js'
import { LimitsWatch, type WaitLimits } from '../batching/limits-watch.js'
import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { LearntStore, type Learnt } from './learnt.js'
import { consoleLogger, type Logger } from '../logger.js'
import { checkFields, nearest } from '../options.js'
import { Changes, type ChangeDraft, type ChangeListener, type ChangeOrigin } from './changes.js'
import { isChecked, type HttpProfile } from './exposure.js'
import { forClients, listModels } from './repository.js'
import { RepositoryWatch } from './repository-watch.js'
import { CutOff } from './cut-off.js'
import { checkName, closed, quote } from './names.js'
import {
  ServedModel,
  type LoadOptions,
  type ModelDefinition,
  type ModelHost,
  type RollbackResult,
} from './served-model.js'
import { Residency, type ResidencyLimits } from './residency.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import { ArtifactCache } from './sources/artifact-cache.js'
import { sourceField, type ModelSource } from './sources/model-source.js'
import { Replicas, type ReplicaOptions } from '../state/replicas.js'
import { Stages } from './stages.js'
import { isLoaded } from './version.js'
import { watchSettings, type WatchOptions } from './watch-options.js'
import type { Lease } from './lease.js'
import type { Borrowed } from './loans.js'
import { artifactBytes } from '../execution/external-data.js'
import type { Lines, ValidationCase } from '../validation/cases.js'
import { checkComparison, compare, type Comparison, type Contender } from '../validation/compare.js'
import {
  checkValidation,
  type ComparisonOptions,
  validate,
  validationFailed,
  type ValidationGate,
  type ValidationOptions,
  type ValidationReport,
} from '../validation/validate.js'
import { Outcomes, type OutcomeListener } from './outcomes.js'
import type { CanaryOptions } from './canary.js'
import type { ShadowCopy, ShadowOptions, ShadowResult } from './shadow.js'
import type { Traffic } from './traffic.js'
import { ModelRollouts } from './model-rollouts.js'
import type { RolloutEvent, RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'

export interface ModelManagerOptions extends ResidencyLimits {
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger
  /** Told of each version that was loaded. */
  readonly onLoaded?: (model: string, version: string, loadTimeMs: number) => void
  /** Told of each run that succeeded, of one or more requests. */
  readonly onRun?: (model: string, version: string, rows: number, computeMs: number) => void
  /** Told what became of each copy of a request that a shadow was given. */
  readonly onShadow?: (model: string, version: string, result: ShadowResult) => void
  readonly clock?: Clock
  /** From 0 to 1, without 1: draws requests without a key for a canary, and those that a shadow is given. Default: Math.random. */
  readonly random?: () => number
  /** What another process has learnt of the artifacts: {@link ModelManager.learned}. */
  readonly learned?: Learnt
  /** How long {@link ModelManager.close} waits for requests under way. Default: 30,000. */
  readonly drainTimeoutMs?: number
  /** Told of each load of a version that failed. */
  readonly onLoadFailed?: (model: string, version: string) => void
  /** Told each time a `model.json` could not be read. */
  readonly onConfigFailed?: (model: string) => void
  /** Whether and how the models' folders are watched. Default: they are read once. */
  readonly watch?: true | WatchOptions | undefined
  /** The folder for what is kept on disk, and where processes agree on what they serve. Default: the user's cache folder, and the process decides alone. */
  readonly stateDir?: string | undefined
  /** How processes agree. */
  readonly replicas?: ReplicaOptions
}

export interface SwitchOptions extends ChangeOrigin {
  /** Cases that the version must pass before it serves. Default: none. */
  readonly validate?: ValidationGate
}

/**
 * The models of a process: their versions, which of them serves, and every change to that. Usable on its own:
 * `await new ModelManager().load('churn', '1', { source: './churn.onnx' })`.
 */
export class ModelManager<N extends string = string> {
  readonly #models = new Map<string, ServedModel>()
  readonly #host: Required<
    Omit<ModelManagerOptions, 'learned' | 'watch' | 'stateDir' | 'replicas' | keyof ResidencyLimits>
  > &
    ModelHost
  #outcomes: Outcomes | undefined
  readonly #rollouts: ModelRollouts
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
  #watch: RepositoryWatch | undefined
  /** Models of the repository's folder, rather than of code. */
  readonly #found = new Set<string>()

  constructor({
    learned,
    watch,
    stateDir,
    replicas = {},
    maxLoadedModels,
    memoryLimitBytes,
    ...options
  }: ModelManagerOptions = {}) {
    this.#host = {
      logger: consoleLogger,
      clock: systemClock,
      onLoaded: () => {},
      onRun: () => {},
      onLoadFailed: () => {},
      onConfigFailed: () => {},
      random: Math.random,
      drainTimeoutMs: 30_000,
      ...options,
      onShadow: (model, version, result) => {
        options.onShadow?.(model, version, result)
        if (!('distance' in result)) return
        const agree = result.result === 'agreed'
        this.#outcomes?.compared(model, { version, agree, distance: result.distance })
      },
      shadows: new Map(),
      within: (limits, promise) => this.within(limits, promise),
      watch: watch === undefined ? undefined : watchSettings(watch),
      artifacts: new ArtifactCache(stateDir),
      cutOff: new CutOff(),
      learnt: new LearntStore(learned),
      stages: this.#stages,
      residency: new Residency({ maxLoadedModels, memoryLimitBytes }, options.clock),
      desiredVersion: (model) => this.#replicas?.currentOf(model),
      isPinned: (model) => this.#replicas?.desiredOf(model).pinned === true,
    }
    this.#limits = new LimitsWatch(this.#host.clock)
    this.#rollouts = new ModelRollouts(this, {
      clock: this.#host.clock,
      logger: this.#host.logger,
      onEvent: (model, event) => {
        const why = { actor: 'rollout', reason: describeRollout(event) }
        const draft: ChangeDraft = { action: 'rollout', model, to: event.version }
        void this.#changes.record(draft, why, async () => {})
      },
    })
    this.#changes = new Changes(this.#host.logger)
    this.#changes.listen(({ action, result, model, to }) => {
      const isSwitch = action === 'switch' || action === 'rollback'
      if (isSwitch && result === 'success' && to !== undefined) this.#rollouts.switched(model, to)
    })
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
    if (this.#host.watch !== undefined) this.#watchFolders(repository, this.#host.watch.intervalMs)
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
          if (all.has(name)) continue
          all.set(name, { kind: 'onnx', source, options: {} })
          this.#found.add(name)
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

  #watchFolders(repository: string | undefined, intervalMs: number): void {
    const watched = {
      repository,
      all: () => this.#models.values(),
      listed: (folders: ReadonlyMap<string, string>) => this.#follow(folders),
    }
    this.#watch = new RepositoryWatch(watched, this.#host, intervalMs)
    void this.#starting.then(() => this.#watch?.start())
  }

  /** Adds the models that came into the repository, and forgets those that are gone and not loaded. */
  #follow(folders: ReadonlyMap<string, string>): void {
    for (const [name, source] of folders) {
      if (this.#models.has(name)) continue
      // Its watch takes its versions once they have come to rest.
      const model = this.#add(name, { kind: 'onnx', source, options: {} })
      model.isRequired = this.#startupError !== undefined
      this.#found.add(name)
      this.#host.logger.info({ model: name }, `model ${name} came into the repository`)
    }
    this.#startupError = undefined
    for (const name of this.#found) {
      const model = this.#models.get(name)
      if (folders.has(name) || model === undefined) continue
      if ([...model.versions.values()].some(isLoaded)) continue
      this.#found.delete(name)
      this.#models.delete(name)
      void model.close()
      this.#host.logger.info({ model: name }, `model ${name} is gone from the repository`)
    }
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
    for (const [model, { versions, traffic }] of this.#models) {
      for (const version of versions.values()) {
        const { percent } = traffic.canary?.version === version.name ? traffic.canary : {}
        yield { model, ...version.status, ...(percent !== undefined && { canaryRatio: percent / 100 }) }
      }
    }
  }

  /**
   * Loads a version beside those that serve. The first version of a model becomes current, a later one when it
   * is activated or switched to. A failed load leaves what serves untouched.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, CLOSED
   */
  load(model: N, version: string, options: LoadOptions = {}): Promise<ModelSnapshot> {
    const { source } = options
    const action = options.activate === true ? 'switch' : 'load'
    return this.#changes.record({ action, model, to: version }, options, async (change) => {
      checkFields({ source }, { source: sourceField }, 'load()', 'INVALID_OPTIONS')
      const found = await this.#known(model, source)
      const calls = this.#provisional.get(found)
      if (calls !== undefined) this.#provisional.set(found, calls + 1)
      try {
        const isShared = source === undefined
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
   * @throws ServingError as {@link load}; VALIDATION_FAILED where it does not pass `validate`, and INVALID_REQUEST where
   *   that asks for what it can't: what serves is then as it was
   */
  switchVersion(
    model: N,
    version: string,
    { validate: gate, ...origin }: SwitchOptions = {},
  ): Promise<ModelSnapshot> {
    return this.#changes.record({ action: 'switch', model, to: version }, origin, async (change) => {
      const found = await this.#known(model)
      change.from = found.current?.name // if it fails, that goes on to serve
      const activate = async () => {
        change.from = await this.#switch(found, version, origin)
      }
      if (gate === undefined) await activate()
      else await this.#gated(found, version, gate, activate)
      return snapshot(found)
    })
  }

  /** Does something with a version that passes its validation, for which it is loaded once. */
  async #gated(
    model: ServedModel,
    version: string,
    { cases, ...options }: ValidationGate,
    then: () => Promise<void>,
  ): Promise<void> {
    checkValidation(options)
    const check = async ([{ lease }]: readonly [Borrowed]) => {
      const report = await validate(model.name, version, lease, cases, options)
      if (!report.slo.met) throw validationFailed(report)
    }
    await model.borrow([version], check, then)
  }

  /**
   * Runs cases through a version, whether it serves or not: where it is not loaded it is loaded for that time. Nothing
   * else changes.
   * @param version its name, or `'latest'`
   * @param cases one after another, or the path of a JSON Lines file: `{ "input", "expected", "tolerance" }` a line
   * @throws ServingError INVALID_REQUEST for options or cases that are none; as {@link load}
   */
  async validate(
    model: N,
    version: string,
    cases: Lines<ValidationCase>,
    options: ValidationOptions = {},
  ): Promise<ValidationReport> {
    checkValidation(options)
    const found = await this.#known(model)
    const name = await this.#named(found, version)
    return found.borrow([name], ([{ lease }]) => validate(model, name, lease, cases, options))
  }

  /**
   * Asks two versions of a model the same inputs, and tells size, speed and agreement side by side. What is not loaded
   * is loaded for that time.
   * @param inputs as `predict` takes them, or the path of a JSON Lines file of cases
   * @throws ServingError of an input that a version can't answer; INVALID_REQUEST; as {@link load}
   */
  async compare(
    model: N,
    a: string,
    b: string,
    inputs: Lines<unknown>,
    options: ComparisonOptions = {},
  ): Promise<Comparison> {
    checkComparison(options)
    const found = await this.#known(model)
    return found.borrow([await this.#named(found, a), await this.#named(found, b)], async ([first, second]) =>
      compare(model, await contenderOf(first), await contenderOf(second), inputs, options),
    )
  }

  async #named(model: ServedModel, version: string): Promise<string> {
    if (!isLatest(version)) return version
    await model.firstLoad
    if (model.isLazy) await model.wake()
    if (model.current === undefined) throw this.#notReady(model, undefined)
    return model.current.name
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

  /**
   * Gives a version a movable name, by which requests may ask for it, or moves the name to it, loading it first where
   * needed. A version that has a label stays loaded; one that was loaded for it is unloaded once it has none.
   * @throws ServingError as {@link load}; INVALID_OPTIONS for what can't be a label; CONFLICT for a version's name
   */
  setLabel(model: N, label: string, version: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'label', model, to: version }
    return this.#route(draft, origin, (traffic) => traffic.setLabel(label, version))
  }

  /** @throws ServingError MODEL_NOT_FOUND; CONFLICT where there is no such label */
  removeLabel(model: N, label: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#route({ action: 'label', model }, origin, (traffic) => traffic.removeLabel(label))
  }

  /**
   * Sends a share of the requests that name no version to another one, loading it first where needed: those of one `key`
   * always or never, by a hash of model and key alone, others by chance. A larger share keeps the keys it had. While the
   * version can't serve, the current one answers.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT for the version that serves
   */
  canary(model: N, options: CanaryOptions, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'canary', model, to: options.version }
    return this.#route(draft, origin, (traffic) => traffic.startCanary(options))
  }

  /** Sends all requests to the current version again. @throws ServingError MODEL_NOT_FOUND */
  endCanary(model: N, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#route({ action: 'canary', model }, origin, (traffic) => traffic.endCanary())
  }

  /**
   * Gives copies of a fraction of the requests that the current version answers to another one, once they are answered
   * and where the cores are idle, and compares what it says. Counts are in {@link get} and the metrics.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT for the version that serves
   */
  shadow(model: N, options: ShadowOptions, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'shadow', model, to: options.version }
    return this.#route(draft, origin, (traffic) => traffic.startShadow(options))
  }

  /** @throws ServingError MODEL_NOT_FOUND */
  endShadow(model: N, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#route({ action: 'shadow', model }, origin, (traffic) => traffic.endShadow())
  }

  #route(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    change: (traffic: Traffic) => Promise<void>,
  ): Promise<ModelSnapshot> {
    return this.#changes.record(draft, origin, async () => {
      const found = await this.#known(draft.model)
      await change(found.traffic)
      return snapshot(found)
    })
  }

  /** Who is told of answers and comparisons; undefined where nobody listens. */
  get outcomes(): Outcomes | undefined {
    return this.#outcomes
  }

  /**
   * Takes a version out of service until it is {@link release}d: no request goes to it, and nothing makes it current.
   * Where it serves, the version before it does again.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND; CONFLICT for the version that serves, where there is no other
   */
  quarantine(model: N, version: string, reason: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    const why = { ...origin, reason }
    return this.#changes.record({ action: 'quarantine', model, to: version }, why, async () => {
      const found = await this.#known(model)
      found.version(version)
      if (found.current?.name === version) await found.rollback()
      found.quarantine.add(version, reason)
      const { canary, shadow } = found.traffic
      if (canary?.version === version) await found.traffic.endCanary()
      if (shadow?.version === version) await found.traffic.endShadow()
      return snapshot(found)
    })
  }

  /** Lets a version serve again. @throws ServingError MODEL_NOT_FOUND; CONFLICT where it is in no quarantine */
  release(model: N, version: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#changes.record({ action: 'release', model, to: version }, origin, async () => {
      const found = await this.#known(model)
      found.quarantine.release(version)
      return snapshot(found)
    })
  }

  /**
   * Lets a version take over in steps, each judged against the version that serves; back at once, and into quarantine,
   * where it is worse. Loads it first where needed.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT where a rollout is under way, the version serves, or
   *   is in quarantine
   */
  startRollout(model: N, options: RolloutOptions, origin: ChangeOrigin = {}): Promise<RolloutStatus> {
    const { version } = options
    return this.#changes.record({ action: 'rollout', model, to: version }, origin, async (change) => {
      rolloutPlan(options) // says what is wrong with them
      const found = await this.#known(model)
      found.quarantine.check(version)
      await this.within({}, found.firstLoad)
      change.from = found.current?.name
      if (change.from === undefined) throw this.#notReady(found, undefined)
      await found.load(version, { activate: false })
      return this.#rollouts.start(model, change.from, options)
    })
  }

  /** The rollout of a model that is under way, or the last one there was. */
  rolloutOf(model: N): RolloutStatus | undefined {
    return this.#rollouts.of(model)
  }

  /** Ends a rollout: all requests go to the version that serves. @throws ServingError CONFLICT where none is under way */
  abortRollout(model: N, origin: ChangeOrigin = {}): Promise<RolloutStatus> {
    const to = this.#rollouts.of(model)?.version
    return this.#changes.record({ action: 'rollout', model, to }, origin, async () =>
      this.#rollouts.abort(model, origin.reason),
    )
  }

  /**
   * Tells a listener of each request of a model that a version answered, or failed at, and of each comparison with its
   * shadow.
   * @returns ends it
   */
  onOutcome(model: N, listener: OutcomeListener): () => void {
    const outcomes = (this.#outcomes ??= new Outcomes())
    outcomes.add(model, listener)
    return () => {
      outcomes.remove(model, listener)
      if (outcomes.isEmpty && this.#outcomes === outcomes) this.#outcomes = undefined
    }
  }

  /** A copy of a request for the model's shadow, where there is one that is to have it. */
  shadowCopy(model: string, input: unknown, inTensors = false): ShadowCopy | undefined {
    const { shadows } = this.#host
    return shadows.size === 0 ? undefined : shadows.get(model)?.sample(input, inTensors)
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
  async #known(name: string, source?: ModelSource): Promise<ServedModel> {
    await this.#starting
    if (this.#closing !== undefined) throw closed()
    if (source === undefined || this.#models.has(name)) return this.#model(name)
    checkName('model', name)
    const model = this.#add(name, { kind: 'onnx', source, options: {} })
    model.watch = undefined // the source is that of one version
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
  takesExactIntegers(model: string, version?: string, key?: string): boolean | undefined {
    const found = this.#models.get(model)
    if (found === undefined) return undefined
    const { definition } = found
    const first = definition.kind === 'pipeline' ? definition.options.entry : undefined
    if (first !== undefined) return this.takesExactIntegers(first.model, first.version, key)
    const lease = found.tryLease(isLatest(version) ? undefined : version, key)
    lease?.release()
    return lease?.codec.takesExactIntegers
  }

  /**
   * Takes a lease on a version that can answer: the current one, or the one asked for. A model whose load is under
   * way is waited for, and a lazy one is loaded; everything else is decided at once.
   * @param isStage whether a pipeline asks, whose request was taken in: it is let in although the models are closing
   * @param key what keeps requests of one kind on one version while there is a canary
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED, TIMEOUT
   */
  async lease(
    model: string,
    version?: string,
    limits: WaitLimits & Pick<SubmitOptions, 'whenFull'> = {},
    isStage = false,
    key?: string,
  ): Promise<Lease> {
    const lease = this.tryLease(model, version, isStage, key)
    if (lease !== undefined) return lease
    await this.within(limits, this.#starting)
    const found = this.#model(model)
    const ended = found.awaitLoad(limits.whenFull === 'wait')
    try {
      await this.within(limits, found.firstLoad)
      const named = isLatest(version) ? undefined : version
      if (named === undefined || found.isLazy)
        await this.within(limits, found.wake(named) ?? Promise.resolve())
      const late = this.tryLease(model, version, isStage, key)
      if (late !== undefined) return late
      throw this.#notReady(found, version)
    } finally {
      ended()
    }
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
  tryLease(model: string, version?: string, isStage = false, key?: string): Lease | undefined {
    if (this.#closing !== undefined && !isStage) throw closed()
    const lease = this.#models.get(model)?.tryLease(isLatest(version) ? undefined : version, key)
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
    const models = [...this.#models.values()].filter(
      ({ hasServed, isLazy, isRequired }) => !hasServed && !isLazy && isRequired,
    )
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
    this.#watch?.stop()
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await this.#starting
    await this.#replicas?.close()
    this.#rollouts.close()
    const { clock, drainTimeoutMs, cutOff } = this.#host
    const timer = clock.setTimer(() => cutOff.now(), drainTimeoutMs)
    await cutOff.within(this.#stages.unasked()).catch(() => {}) // those that take too long are refused below
    this.#host.residency.close()
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

async function contenderOf({ version, lease }: Borrowed): Promise<Contender> {
  const { name, source } = version
  return { version: name, bytes: version.session && (await artifactBytes(source.file)), by: lease }
}

function describeRollout({ event, step, steps, percent, reason }: RolloutEvent): string {
  const where = `${event}, step ${step} of ${steps}, ${percent} %`
  return reason === undefined ? where : `${where}: ${reason}`
}
