import { ServingError } from '../errors.js'
import { ChangeQueue } from './change-queue.js'
import type { ChangeOrigin } from './changes.js'
import { Configuration } from './configuration.js'
import { FolderFollower } from './folder-follower.js'
import type { Labels } from './labels.js'
import type { Lease } from './lease.js'
import { Loans } from './loans.js'
import type { ModelDefinition } from './model-definition.js'
import type { ModelHost } from './model-host.js'
import { ModelResidence } from './model-residence.js'
import { ModelVersions } from './model-versions.js'
import { ModelWatch } from './model-watch.js'
import { notReady } from './not-ready.js'
import { Quarantine } from './quarantine.js'
import { Recovery } from './recovery.js'
import type { VersionSource } from './repository.js'
import { NoRoom } from './residency.js'
import type { ModelSource } from './sources/model-source.js'
import { Traffic } from './traffic.js'
import type { ModelVersion } from './version.js'
import { VersionHistory, type RollbackResult } from './version-history.js'
import { VersionLoader } from './version-loader.js'
import { eligible } from './version-policy.js'

export interface LoadOptions extends ChangeOrigin {
  /**
   * The artifact of a version that the model's folder does not hold: an `.onnx` file, or a folder with one; its bytes; or
   * where it is fetched from.
   */
  readonly source?: ModelSource
  /** Makes the version current once it is loaded. Default: only where the model has no current version. */
  readonly activate?: boolean
}

/** A model's versions and which of them serves. Changes run one after another. */
export class ServedModel {
  /** Settles with the first load, be it a success or not; a request that comes before waits for it. */
  firstLoad: Promise<void> = Promise.resolve()
  /** Whether readiness waits for it: not for a model that came while others served. */
  isRequired = true
  /** What looks at its folder, where that is watched. */
  readonly watch: ModelWatch | undefined
  /** Which other versions than the current one requests go to. */
  readonly traffic: Traffic
  readonly labels: Labels
  readonly quarantine: Quarantine
  /** What it is and where it lies. */
  readonly configuration: Configuration
  /** Versions for those who work beside what serves. */
  readonly loans: Loans
  readonly #queue: ChangeQueue
  readonly #versions: ModelVersions
  readonly #history: VersionHistory
  readonly #residence: ModelResidence
  readonly #loader: VersionLoader
  readonly #recovery: Recovery
  readonly #follower: FolderFollower
  readonly #closing = new AbortController()

  constructor(
    readonly name: string,
    definition: ModelDefinition,
    private readonly host: ModelHost,
  ) {
    const { logger, watch, residency } = host
    const holder = (version: string) => this.traffic.holder(version)
    const loadFirst = () => this.#loadFirst()
    const queue = new ChangeQueue(() => residency.review())
    const config = new Configuration(name, definition, host, this.#closing.signal)
    const versions = new ModelVersions(name, config, host, () => this.#residence.released())
    const residence = new ModelResidence(name, { config, versions, queue }, host, holder)
    const quarantine = new Quarantine(name, host.desired(name).quarantined)
    const history = new VersionHistory(versions, config, quarantine, logger, holder)
    const recovery = new Recovery(name, { config, history, queue }, host, {
      loadFirst,
      revive: (version) => this.#revive(version),
    })
    const onDied = (version: ModelVersion, reason: ServingError) => {
      host.onDied(name, version.name, reason)
      recovery.died(version, reason)
    }
    const loader = new VersionLoader(name, { config, versions, residence, queue }, host, onDied)
    const parts = { config, versions, history, recovery, queue, quarantine }
    const follower = new FolderFollower(name, parts, host, {
      loadFirst,
      load: (version, options) => this.#load(version, options),
      applyLabels: () => this.traffic.applyLabels(true),
    })
    this.configuration = config
    this.quarantine = quarantine
    this.labels = versions.labels
    this.loans = new Loans({ versions, residence, loader, history, queue }, logger)
    this.watch = watch && new ModelWatch({ name, config, versions, follower }, host, watch)
    this.#queue = queue
    this.#versions = versions
    this.#residence = residence
    this.#history = history
    this.#recovery = recovery
    this.#loader = loader
    this.#follower = follower
    this.traffic = new Traffic(this, host, {
      change: (operation) => queue.run(operation),
      loadBeside: (version) => this.#loadBeside(version),
      retire: () => history.retire(),
    })
  }

  /** What the code said, and once the folder was read what that says. */
  get definition(): ModelDefinition {
    return this.configuration.definition
  }

  get options(): ModelDefinition['options'] {
    return this.configuration.options
  }

  get isLazy(): boolean {
    return this.configuration.isLazy
  }

  /** Whether a version ever served: what fails or is unloaded later makes no replica unready. */
  get hasServed(): boolean {
    return this.#history.hasServed
  }

  get versions(): ReadonlyMap<string, ModelVersion> {
    return this.#versions.byName
  }

  get current(): ModelVersion | undefined {
    return this.#history.current
  }

  /** The name of the version that served before, and may again. */
  get previous(): string | undefined {
    return this.#history.previousName
  }

  /** The version whose load is under way. */
  get loading(): ModelVersion | undefined {
    return this.#versions.all.find((version) => version.state === 'loading')
  }

  /** Why no version serves. */
  get failure(): ServingError | undefined {
    return this.#recovery.failure
  }

  /** Milliseconds until the next attempt to load; 0 where none is waited for. */
  get retryInMs(): number {
    return this.#recovery.waitMs
  }

  /** Version names, the highest first. */
  versionNames(): string[] {
    return this.#versions.names()
  }

  /** A version, by its name or a label. @throws ServingError VERSION_NOT_FOUND */
  version(name: string): ModelVersion {
    return this.#versions.known(name)
  }

  /** Reads what the source holds, and loads the version that is to serve unless the model is lazy. Never rejects. */
  begin(): Promise<void> {
    const load = this.#queue.run(async () => {
      await this.watch?.begin()
      await this.configuration.read()
      this.#versions.register(await this.#settled())
      if (!this.isLazy) await this.#loadFirst()
    })
    return (this.firstLoad = load.catch((error: unknown) => this.#recovery.failed(error)))
  }

  /** The versions that lie there; where that is watched, without those that somebody is still copying. */
  async #settled(): Promise<VersionSource[]> {
    const found = await this.configuration.versions()
    return this.watch?.settled(found, this.#closing.signal) ?? found
  }

  async #loadFirst(): Promise<void> {
    await this.configuration.read()
    const { options } = this.configuration
    if (options.idleUnloadMs !== undefined && !this.isLazy) {
      throw new ServingError('INVALID_CONFIG', `model "${this.name}": idleUnloadMs needs lazy: true.`)
    }
    if (this.#versions.byName.size === 0) this.#versions.register(await this.#settled())
    const name = this.#first()
    if (name === undefined) return
    await this.#refuseChanging(name)
    await this.#load(name, { activate: true })
    await this.traffic.applyLabels()
  }

  /** The version that is to serve; one in quarantine only where all are, since the load then says why. */
  #first(): string | undefined {
    const { options, wished } = this.configuration
    const { current } = this.host.desired(this.name)
    const names = eligible(options.versions, this.versionNames())
    const wishes = [this.#history.currentName, current, wished, ...names].filter((name) => name !== undefined)
    return wishes.find((name) => !this.quarantine.has(name)) ?? wishes[0]
  }

  /** Loads the version that is to serve, unless one does. @throws ServingError MODEL_NOT_READY where there is none */
  loadServing(): Promise<void> {
    return this.#queue.run(async () => {
      if (this.current?.state !== 'ready') await this.#loadFirst()
      if (this.current === undefined) throw notReady(this)
    })
  }

  /** @throws ServingError MODEL_NOT_READY where a version's files are being replaced */
  async #refuseChanging(name: string): Promise<void> {
    const version = this.#versions.get(name)
    if (version?.state !== 'failed' || (await this.#isAsTaken(version))) return
    throw new ServingError(
      'MODEL_NOT_READY',
      `${version.label} is being changed, and not loaded before that is over.`,
      { cause: version.reason },
    )
  }

  async #isAsTaken({ source }: ModelVersion): Promise<boolean> {
    return (await this.watch?.isAsTaken(source)) ?? true
  }

  /**
   * Loads the model for a request that needs it: a lazy one, or one whose last attempt failed some time ago; or a
   * version of it that had to make room.
   */
  wake(version?: string): Promise<void> | undefined {
    if (version !== undefined && version !== this.current?.name && this.#residence.hasEvicted(version))
      return this.#reload(version)
    const state = this.current?.state
    const isHere = state === 'ready' || state === 'loading' || state === 'draining'
    return isHere && !this.#residence.isEvicting ? undefined : this.#recovery.wake()
  }

  /** @throws ServingError MODEL_NOT_READY where there is no room; why else it failed the version says */
  async #reload(version: string): Promise<void> {
    await this.load(version, { activate: false }).catch((error: unknown) => {
      if (error instanceof NoRoom) throw error
    })
  }

  /**
   * Counts a request that waits for a load, for which the model then stays.
   * @returns ends it
   * @throws ServingError MODEL_NOT_READY where too many wait
   */
  awaitLoad(mayExceed: boolean): () => void {
    return this.#residence.awaitLoad(mayExceed)
  }

  /**
   * Waits until a version whose session died has been loaded again, or could not be; undefined where no attempt is to
   * come soon.
   */
  comeback(name: string): Promise<void> | undefined {
    const version = this.#versions.get(name)
    if (version === undefined || this.#queue.isClosed) return undefined
    return version.state === 'loading' || this.#recovery.isSoon(version) ? version.nextChange() : undefined
  }

  /**
   * A lease, where it is to be had at once, on the version asked for by name or label; else on the canary, where it
   * takes the request and can serve; else on the current one.
   */
  tryLease(version: string | undefined, key?: string): Lease | undefined {
    if (version !== undefined) {
      const named = this.#versions.find(version)
      return named === undefined || this.quarantine.has(named.name) ? undefined : named.lease()
    }
    const detour = this.traffic.detour(key)
    const lease = detour === undefined ? undefined : this.#versions.get(detour)?.lease()
    return lease ?? this.current?.lease()
  }

  /**
   * @returns the version that was current until then
   * @throws as {@link ModelManager.load}
   */
  load(name: string, options: LoadOptions): Promise<string | undefined> {
    return this.#queue.run(async () => {
      const from = this.current?.name
      await this.#load(name, options)
      return from
    })
  }

  async #load(name: string, { source, activate }: LoadOptions): Promise<void> {
    if (activate === true) this.quarantine.check(name)
    const version = await this.#loader.load(name, source)
    this.loans.end(name)
    if (activate === true || this.current === undefined) this.#activate(version)
  }

  /** Loads a version for something else than to serve; it is unloaded once nothing keeps it. */
  async #loadBeside(name: string): Promise<void> {
    if (this.current === undefined) await this.#loadFirst()
    const wasReady = this.#versions.get(name)?.state === 'ready'
    await this.#load(name, { activate: false })
    if (!wasReady) this.#history.keep(name)
  }

  #activate(version: ModelVersion): void {
    this.host.stages.switches++
    this.#recovery.succeeded()
    this.#history.add(version.name)
    this.traffic.activated(version.name)
    this.host.logger.info({ model: this.name, version: version.name }, `${version.label} serves`)
    if (this.options.versions === undefined) this.#history.retire()
    else void this.#follower.followPolicy()
  }

  async #revive(version: ModelVersion): Promise<void> {
    if (this.#versions.get(version.name) !== version) return
    // What is being replaced is taken once that is over.
    if (!(await this.#isAsTaken(version))) return this.#recovery.reviveLater(version)
    if (this.#follower.isArriving(version.name)) return this.#follower.arrive(version)
    if (version.state === 'failed') await this.#load(version.name, {})
    this.#recovery.revived(version)
  }

  /** Makes the version that was current before current again. @throws ServingError CONFLICT */
  rollback(): Promise<RollbackResult> {
    return this.#queue.run(async () => {
      const { currentName: from, previousName: target } = this.#history
      if (from === undefined || target === undefined) {
        const why = this.#history.isOfOne ? 'was never switched' : 'has none before but in quarantine'
        throw new ServingError('CONFLICT', `model "${this.name}" ${why}: there is nothing to go back to.`)
      }
      const reloaded = this.#versions.get(target)?.state !== 'ready'
      await this.#load(target, { activate: false })
      this.#history.backTo(target)
      this.#activate(this.version(target))
      return { version: target, from, reloaded }
    })
  }

  /**
   * Unloads a version that is not current, or the whole model; its next load takes its files as they are then.
   * @throws ServingError VERSION_NOT_FOUND, CONFLICT
   */
  async unload(name?: string): Promise<void> {
    // Its requests may take their time, or never end: that holds up no other change, such as a rollback.
    const unloading = await this.#queue.run(async () =>
      name === undefined ? this.#unloadAll() : [this.#unload(this.version(name))],
    )
    await Promise.all(unloading)
  }

  #unloadAll(): readonly Promise<void>[] {
    this.#history.clear()
    this.#follower.leave()
    this.#residence.left()
    this.loans.endAll()
    this.#recovery.clear()
    this.traffic.clear()
    return [this.#versions.unload().then(() => this.#versions.readAnew())]
  }

  #unload(version: ModelVersion): Promise<void> {
    const { name, label } = version
    if (version === this.current) {
      throw new ServingError('CONFLICT', `${label} serves: switch to another version, or unload the model.`)
    }
    const holder = this.traffic.holder(name)
    if (holder !== undefined) throw new ServingError('CONFLICT', `${label} can't be unloaded: ${holder}.`)
    this.#follower.leave(name)
    this.#residence.left(name)
    this.loans.end(name)
    this.#recovery.cancel(version)
    return version.unload().then(() => this.#versions.readAnew(name))
  }

  /** Frees every version once its leases have ended, or are cut off. */
  async close(): Promise<void> {
    // A change that never ends is not waited for beyond the cut-off.
    const changes = this.#queue.close()
    this.#closing.abort()
    this.#recovery.cancelAll()
    this.#residence.close()
    this.traffic.close()
    await this.host.cutOff.within(changes).catch(() => {})
    await this.#versions.unload()
  }
}
