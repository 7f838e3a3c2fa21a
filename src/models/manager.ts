import type { SubmitOptions } from '../batching/batcher.js'
import type { WaitLimits } from '../batching/limits-watch.js'
import { ServingError } from '../errors.js'
import type { JsonSchema } from '../options.js'
import type { RolloutStatus } from '../rollout/rollout-host.js'
import { Replicas } from '../state/replicas.js'
import type { Lines, ValidationCase } from '../validation/cases.js'
import type { Comparison } from '../validation/compare.js'
import type { ComparisonOptions, ValidationOptions, ValidationReport } from '../validation/validate.js'
import type { CanaryOptions } from './canary.js'
import type { Changes, ChangeListener, ChangeOrigin } from './changes.js'
import { httpProfile, type HttpProfile } from './exposure.js'
import { Fallbacks } from './fallbacks.js'
import { inputSchemaOf } from './input-schema.js'
import { KnownModels } from './known-models.js'
import type { Learnt } from './learnt.js'
import type { Lease } from './lease.js'
import { Leasing } from './leasing.js'
import { hostOf, type ModelManagerOptions } from './manager-options.js'
import type { ModelDefinition } from './model-definition.js'
import type { ModelHost } from './model-host.js'
import { rolloutActions } from './model-rollouts.js'
import { ModelValidation } from './model-validation.js'
import type { Outcomes, OutcomeListener } from './outcomes.js'
import { RepositoryModels } from './repository-models.js'
import { RolloutChanges, type StartRolloutOptions } from './rollout-changes.js'
import type { LoadOptions } from './served-model.js'
import type { ShadowCopy, ShadowOptions } from './shadow.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import { Stages } from './stages.js'
import type { TensorInterface } from './tensor-interface.js'
import { TrafficControl } from './traffic-control.js'
import { VersionChanges, type SwitchOptions } from './version-changes.js'
import type { RollbackResult } from './version-history.js'

/**
 * The models of a process: their versions, which of them serves, and every change to that. Usable on its own:
 * `await new ModelManager().load('churn', '1', { source: './churn.onnx' })`.
 */
export class ModelManager<N extends string = string> {
  readonly #host: ModelHost
  readonly #drainTimeoutMs: number
  readonly #models: KnownModels
  readonly #changes: Changes
  readonly #versions: VersionChanges
  readonly #traffic: TrafficControl
  readonly #rollouts: RolloutChanges
  readonly #validation: ModelValidation
  readonly #leasing: Leasing
  readonly #fallbacks: Fallbacks
  readonly #replicas: Replicas | undefined
  #repository: RepositoryModels | undefined
  #closing: Promise<void> | undefined

  constructor(options: ModelManagerOptions = {}) {
    const { stateDir, replicas = {}, drainTimeoutMs = 30_000 } = options
    const host = hostOf(options, {
      stages: new Stages((model) => this.#models.known(model)),
      replicas: () => this.#replicas,
      rollouts: () => this.#rollouts,
    })
    const { logger, clock, changes, outcomes } = host
    const models = new KnownModels(host)
    this.#host = host
    this.#drainTimeoutMs = drainTimeoutMs
    this.#models = models
    this.#changes = changes
    if (stateDir !== undefined)
      this.#replicas = new Replicas(stateDir, replicas, { models: models.all, changes, logger, clock })
    this.#versions = new VersionChanges(models, changes, this.#replicas)
    const unrefused = new TrafficControl(models, changes, this.#replicas)
    const { onRollout = () => {} } = options
    this.#rollouts = new RolloutChanges(rolloutActions(unrefused, this.#versions, outcomes), {
      ...host,
      models,
      changes,
      replicas: this.#replicas,
      onRollout,
    })
    this.#traffic = new TrafficControl(models, changes, this.#replicas, (model) =>
      this.#rollouts.refuse(model),
    )
    this.#validation = new ModelValidation(models)
    this.#leasing = new Leasing(models, host)
    this.#fallbacks = new Fallbacks(models, logger)
  }

  /** Finds the models of a repository and of code, and begins to load the version of each that is to serve. */
  start(repository: string | undefined, definitions: ReadonlyMap<string, ModelDefinition>): void {
    const found = new RepositoryModels(repository, this.#models, this.#host)
    this.#repository = found
    this.#models.listedBy(this.#start(found, definitions))
    if (this.#host.watch !== undefined) found.watch(this.#host.watch.intervalMs)
  }

  async #start(
    repository: RepositoryModels,
    definitions: ReadonlyMap<string, ModelDefinition>,
  ): Promise<void> {
    await this.#replicas?.open()
    const all = await repository.besides(definitions)
    for (const [name, definition] of all) void this.#models.add(name, definition).begin()
    this.#replicas?.start()
  }

  /** What the replicas of {@link ModelManagerOptions.stateDir} agree on; undefined where this process is alone. */
  get replicas(): Replicas | undefined {
    return this.#replicas
  }

  /** Settles once the models of code and of the repository are known, loaded or not. */
  async listed(): Promise<void> {
    await this.#models.listed
  }

  /** Whether {@link listed} has settled. */
  get isListed(): boolean {
    return this.#models.isListed
  }

  /** The names of all models, sorted. */
  names(): N[] {
    return this.#models.names() as N[]
  }

  has(model: string): boolean {
    return this.#models.all.has(model)
  }

  /** @throws ServingError MODEL_NOT_FOUND */
  get(model: N): ModelSnapshot {
    return snapshot(this.#models.get(model))
  }

  list(): ModelSnapshot[] {
    return this.names().map((name) => this.get(name))
  }

  /** What each version is at this moment: what metrics read. */
  *status() {
    for (const [model, { versions, traffic }] of this.#models.all) {
      for (const version of versions.values()) {
        const { percent } = traffic.canary?.version === version.name ? traffic.canary : {}
        yield {
          model,
          ...version.status,
          ...(percent !== undefined && { canaryRatio: percent / 100 }),
          rolloutStep: this.#rollouts.stepOf(model, version.name),
        }
      }
    }
  }

  /**
   * What the runs of the models have taught: what batches cost, and where sessions serve best; plain JSON by the SHA-256
   * of each artifact. Given to another process as `learned`, its models begin with it.
   */
  learned(): Learnt {
    for (const { versions } of this.#models.all.values()) {
      for (const version of versions.values()) version.learn()
    }
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

  /**
   * Loads a version beside those that serve. The first version of a model becomes current, a later one when it
   * is activated or switched to. A failed load leaves what serves untouched.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, CLOSED
   */
  load(model: N, version: string, options: LoadOptions = {}): Promise<ModelSnapshot> {
    return this.#versions.load(model, version, options)
  }

  /**
   * Loads the version of a model that is to serve, unless one does: for a lazy model, or after the whole was unloaded.
   * @throws ServingError as {@link load}; MODEL_NOT_READY where there is no version
   */
  loadModel(model: N, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#versions.loadModel(model, origin)
  }

  /**
   * Makes a version the one that serves, loading it first where needed. Requests under way end on the version
   * they began with; the one that served before stays loaded (`keepPrevious`).
   * @throws ServingError as {@link load}; VALIDATION_FAILED where it does not pass `validate`, and INVALID_REQUEST where
   *   that asks for what it can't: what serves is then as it was
   */
  switchVersion(model: N, version: string, options: SwitchOptions = {}): Promise<ModelSnapshot> {
    return this.#versions.switchVersion(model, version, options)
  }

  /**
   * Goes back to the version that served before the last switch, and with each further call one more.
   * @throws ServingError MODEL_NOT_FOUND; CONFLICT where there was no switch; as {@link load} where it must reload
   */
  rollback(model: N, origin: ChangeOrigin = {}): Promise<RollbackResult> {
    return this.#versions.rollback(model, origin)
  }

  /**
   * Frees a version that is not current, or without `version` the whole model, once the requests on it have ended.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND; CONFLICT for the version that serves
   */
  unload(model: N, version?: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#versions.unload(model, version, origin)
  }

  /**
   * Runs cases through a version, whether it serves or not: where it is not loaded it is loaded for that time. Nothing
   * else changes.
   * @param version its name, or `'latest'`
   * @param cases one after another, or the path of a JSON Lines file: `{ "input", "expected", "tolerance" }` a line
   * @throws ServingError INVALID_REQUEST for options or cases that are none; as {@link load}
   */
  validate(
    model: N,
    version: string,
    cases: Lines<ValidationCase>,
    options: ValidationOptions = {},
  ): Promise<ValidationReport> {
    return this.#validation.validate(model, version, cases, options)
  }

  /**
   * Asks two versions of a model the same inputs, and tells size, speed and agreement side by side. What is not loaded
   * is loaded for that time.
   * @param inputs as `predict` takes them, or the path of a JSON Lines file of cases
   * @throws ServingError of an input that a version can't answer; INVALID_REQUEST; as {@link load}
   */
  compare(
    model: N,
    a: string,
    b: string,
    inputs: Lines<unknown>,
    options: ComparisonOptions = {},
  ): Promise<Comparison> {
    return this.#validation.compare(model, a, b, inputs, options)
  }

  /**
   * Gives a version a movable name, by which requests may ask for it, or moves the name to it, loading it first where
   * needed. A version that has a label stays loaded; one that was loaded for it is unloaded once it has none.
   * @throws ServingError as {@link load}; INVALID_OPTIONS for what can't be a label; CONFLICT for a version's name
   */
  setLabel(model: N, label: string, version: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.setLabel(model, label, version, origin)
  }

  /** @throws ServingError MODEL_NOT_FOUND; CONFLICT where there is no such label */
  removeLabel(model: N, label: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.removeLabel(model, label, origin)
  }

  /**
   * Sends a share of the requests that name no version to another one, loading it first where needed: those of one `key`
   * always or never, by a hash of model and key alone, others by chance. A larger share keeps the keys it had. While the
   * version can't serve, the current one answers.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT for the version that serves
   */
  canary(model: N, options: CanaryOptions, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.canary(model, options, origin)
  }

  /** Sends all requests to the current version again. @throws ServingError MODEL_NOT_FOUND */
  endCanary(model: N, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.endCanary(model, origin)
  }

  /**
   * Gives copies of a fraction of the requests that the current version answers to another one, once they are answered
   * and where the cores are idle, and compares what it says. Counts are in {@link get} and the metrics.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT for the version that serves
   */
  shadow(model: N, options: ShadowOptions, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.shadow(model, options, origin)
  }

  /** @throws ServingError MODEL_NOT_FOUND */
  endShadow(model: N, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.endShadow(model, origin)
  }

  /**
   * Takes a version out of service until it is {@link release}d: no request goes to it, and nothing makes it current.
   * Where it serves, the version before it does again.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND; CONFLICT for the version that serves, where there is no other
   */
  quarantine(model: N, version: string, reason: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.quarantine(model, version, reason, origin)
  }

  /** Lets a version serve again. @throws ServingError MODEL_NOT_FOUND; CONFLICT where it is in no quarantine */
  release(model: N, version: string, origin: ChangeOrigin = {}): Promise<ModelSnapshot> {
    return this.#traffic.release(model, version, origin)
  }

  /**
   * Lets a version take over in steps, each judged against the version that serves; back at once, and into quarantine,
   * where it is worse. Loads it first where needed.
   * @throws ServingError as {@link load}; INVALID_OPTIONS; CONFLICT where a rollout is under way, the version serves or is in
   *   quarantine, and where another one is the canary; VALIDATION_FAILED where it does not pass `validate`, and
   *   INVALID_REQUEST where that asks for what it can't
   */
  startRollout(model: N, options: StartRolloutOptions, origin: ChangeOrigin = {}): Promise<RolloutStatus> {
    return this.#rollouts.start(model, options, origin)
  }

  /** The rollout of a model that is under way, or the last one there was. */
  rolloutOf(model: N): RolloutStatus | undefined {
    return this.#rollouts.of(model)
  }

  /** Ends a rollout: all requests go to the version that serves. @throws ServingError CONFLICT where none is under way */
  abortRollout(model: N, origin: ChangeOrigin = {}): Promise<RolloutStatus> {
    return this.#rollouts.abort(model, origin)
  }

  /**
   * Tells a listener of each request of a model that a version answered, or failed at, and of each comparison with its
   * shadow.
   * @returns ends it
   */
  onOutcome(model: N, listener: OutcomeListener): () => void {
    return this.#host.outcomes.listen(model, listener)
  }

  /** Who is told of answers and comparisons; undefined where nobody listens. */
  get outcomes(): Outcomes | undefined {
    return this.#host.outcomes.isEmpty ? undefined : this.#host.outcomes
  }

  /** A copy of a request for the model's shadow, where there is one that is to have it. */
  shadowCopy(model: string, input: unknown, inTensors = false): ShadowCopy | undefined {
    const { shadows } = this.#host
    return shadows.size === 0 ? undefined : shadows.get(model)?.sample(input, inTensors)
  }

  /** What an HTTP door must know of a model; undefined where there is no such model, or not {@link isListed | yet}. */
  httpProfile(model: string): HttpProfile | undefined {
    return httpProfile(model, (name) => this.#models.all.get(name)?.definition)
  }

  /**
   * What those who ask a version in tensors are told of it; undefined of a model of code, and while it is not loaded.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND
   */
  tensorInterface(model: N, version: string): TensorInterface | undefined {
    return this.#models.get(model).version(version).tensorInterface
  }

  /**
   * The name of the version that a name, a label or `'latest'` stands for.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND; MODEL_NOT_READY where no version serves
   */
  versionOf(model: N, version: string): string {
    return this.#leasing.versionOf(model, version)
  }

  /**
   * What callers of a model are held to, as JSON Schema; undefined where neither its `input` nor its metadata says it.
   * @throws ServingError MODEL_NOT_FOUND
   */
  inputSchema(model: N): JsonSchema | undefined {
    return inputSchemaOf(this.#models.get(model), (name) => this.#models.all.get(name))
  }

  /** What a model is made of. @throws ServingError MODEL_NOT_FOUND */
  kindOf(model: N): ModelDefinition['kind'] {
    return this.#models.get(model).definition.kind
  }

  /**
   * Whether a request would be answered: at once, or once a lazy model is loaded for it.
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND
   */
  canServe(model: N, version?: string): boolean {
    return this.#leasing.canServe(model, version)
  }

  /** Whether integers beyond 2^53 must stay exact for a version; undefined while it is not loaded. */
  takesExactIntegers(model: string, version?: string, key?: string): boolean | undefined {
    return this.#leasing.takesExactIntegers(model, version, key)
  }

  /**
   * Takes a lease on a version that can answer: the current one, or the one asked for. A model whose load is under
   * way is waited for, and a lazy one is loaded; everything else is decided at once.
   * @param isStage whether a pipeline asks, whose request was taken in: it is let in although the models are closing
   * @param key what keeps requests of one kind on one version while there is a canary
   * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED, TIMEOUT
   */
  lease(
    model: string,
    version?: string,
    limits: WaitLimits & Pick<SubmitOptions, 'whenFull'> = {},
    isStage = false,
    key?: string,
  ): Promise<Lease> {
    return this.#leasing.lease(model, version, limits, isStage, key)
  }

  /**
   * A lease on a version that a request had one on, for another attempt: where its session died, once it was loaded
   * again, if that is to be soon.
   * @throws ServingError MODEL_NOT_READY, VERSION_NOT_FOUND, CLOSED, ABORTED, TIMEOUT
   */
  leaseAgain(model: string, version: string, limits: WaitLimits): Promise<Lease> {
    return this.#leasing.leaseAgain(model, version, limits)
  }

  /** A lease, where one is to be had at once: the path of nearly every request. @throws ServingError CLOSED */
  tryLease(model: string, version?: string, isStage = false, key?: string): Lease | undefined {
    return this.#leasing.tryLease(model, version, isStage, key)
  }

  /** Waits for a promise as long as the limits allow, and a close. @throws ServingError ABORTED, TIMEOUT; what the promise does */
  within<T>(limits: WaitLimits, promise: Promise<T>): Promise<T> {
    return this.#host.within(limits, promise)
  }

  /** The model that answers where `model` can't. */
  fallbackOf(model: string): string | undefined {
    return this.#fallbacks.of(model)
  }

  /** Whether `model` may have a fallback; false only once that is known. */
  mayFallBack(model: string): boolean {
    return this.#fallbacks.mayHave(model)
  }

  /**
   * Waits until every model serves, or has served; a lazy one is not waited for.
   * @throws ServingError MODEL_NOT_READY that names each model that does not, and why
   */
  async ready(): Promise<void> {
    await this.#models.listed
    await Promise.all([...this.#models.all.values()].map((model) => model.firstLoad))
    const problems = this.problems()
    if (problems.length > 0) throw new ServingError('MODEL_NOT_READY', problems.join('; '))
  }

  /** What keeps {@link ready} from being true now; empty when every model has served. */
  problems(): string[] {
    const { problem } = this.#repository ?? {}
    return problem === undefined ? this.#models.problems() : [problem.message, ...this.#models.problems()]
  }

  /**
   * Refuses new requests, ends every change and request under way, then frees all versions; those of pipelines end
   * first, since they ask others. Requests that take longer
   * than `drainTimeoutMs` are refused with CLOSED; what the runtime computes in this process is waited for. A second
   * call joins the first.
   */
  close(): Promise<void> {
    this.#repository?.stop()
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#models.refuse()
    await this.#models.listed
    await this.#rollouts.close()
    await this.#replicas?.close()
    const { clock, cutOff, residency, stages } = this.#host
    const timer = clock.setTimer(() => cutOff.now(), this.#drainTimeoutMs)
    await cutOff.within(stages.unasked()).catch(() => {}) // those that take too long are refused below
    residency.close()
    await this.#models.close()
    timer.clear()
    // What still waits, such as an encode that never ends, waits for nothing any more.
    cutOff.now()
  }
}
