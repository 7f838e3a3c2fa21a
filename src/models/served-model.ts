import { join, resolve } from 'node:path'
import { asServingError, messageOf, ServingError } from '../errors.js'
import { stepFor } from './arrival.js'
import { artifactBytes } from '../execution/external-data.js'
import { openCustomModel } from './custom-model.js'
import type { ChangeOrigin } from './changes.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import { readModelConfig } from './model-config.js'
import type { ModelDefinition } from './model-definition.js'
import type { ModelHost } from './model-host.js'
import { ModelWatch } from './model-watch.js'
import { openOnnxModel, type OnnxVersionOptions } from './onnx-model.js'
import { IdleTimer } from './idle-timer.js'
import { Loans, type Borrowed } from './loans.js'
import { checkName, closed, quote } from './names.js'
import { openPipeline } from './pipeline-model.js'
import {
  currentLink,
  forClients,
  isFolder,
  listVersions,
  versionAt,
  type VersionSource,
} from './repository.js'
import { NoRoom, type Resident } from './residency.js'
import { Quarantine } from './quarantine.js'
import { Retry } from '../retry.js'
import { locate } from './sources/locate.js'
import type { ModelSource } from './sources/model-source.js'
import { Traffic } from './traffic.js'
import { compareVersions } from './version-order.js'
import type { Lease } from './lease.js'
import { isLoaded, ModelVersion } from './version.js'
import { eligible, wanted } from './version-policy.js'

export interface LoadOptions extends ChangeOrigin {
  /**
   * The artifact of a version that the model's folder does not hold: an `.onnx` file, or a folder with one; its bytes; or
   * where it is fetched from.
   */
  readonly source?: ModelSource
  /** Makes the version current once it is loaded. Default: only where the model has no current version. */
  readonly activate?: boolean
}

export interface RollbackResult {
  /** The version that serves now. */
  readonly version: string
  /** The one that served before. */
  readonly from: string
  /** Whether it was no longer resident, and had to be loaded again. */
  readonly reloaded: boolean
}

/** A request that is to run again waits for a reload that begins within this time. */
const longestComebackMs = 10_000

/** Requests that may wait for a load: as many as may wait in a queue, or as `maxQueueRows` says where that is more. */
const mostWaiting = 1024

/** How many switches can be undone. */
const historyLength = 16

/**
 * A model's versions and which of them serves. Changes run one after another, so that a load, a switch, an unload
 * and a close never interleave.
 */
export class ServedModel implements Resident {
  readonly versions = new Map<string, ModelVersion>()
  /** Settles with the first load, be it a success or not; a request that comes before waits for it. */
  firstLoad: Promise<void> = Promise.resolve()
  /** Whether a version ever served: what fails or is unloaded later makes no replica unready. */
  hasServed = false
  /** Why no version serves. */
  failure: ServingError | undefined
  /** Why its `model.json` is not heeded; what was read before still holds. */
  configFailure: ServingError | undefined
  /** Whether readiness waits for it: not for a model that came while others served. */
  isRequired = true
  /** What looks at its folder, where that is watched. */
  watch: ModelWatch | undefined
  /** Versions that were current, the present one last. */
  #history: string[] = []
  /** Versions that were current, or were loaded for a label, a canary or a shadow: unloaded once nothing keeps them. */
  readonly #served = new Set<string>()
  #control: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #isConfigured = false
  readonly #retry: Retry
  /** Of versions that are loaded without being current, and whose session ended by itself. */
  readonly #revivals = new Map<ModelVersion, Retry>()
  #waking: Promise<void> | undefined
  /** Versions that came into the folder and could not be loaded yet. */
  readonly #arriving = new Set<string>()
  /** What the code said: it wins over `model.json`. */
  readonly #given: ModelDefinition
  /** The version that the link `current` in the folder leads to. */
  #link: string | undefined
  readonly #closing = new AbortController()
  lastUse = 0
  /** Requests that wait for it to be loaded. */
  #waiting = 0
  /** Changes that have not ended. */
  #changes = 0
  #isEvicting = false
  /** Versions that had to make room: a request for one of them loads it again. */
  readonly #evicted = new Set<string>()
  readonly #loans = new Loans()
  #idle: IdleTimer | undefined
  /** Which other versions than the current one requests go to. */
  readonly traffic: Traffic
  readonly quarantine: Quarantine

  constructor(
    readonly name: string,
    /** What the code said, and once the folder was read what that says. */
    public definition: ModelDefinition,
    private readonly host: ModelHost,
  ) {
    this.#retry = new Retry(host.clock, () => void this.#recover())
    this.#given = definition
    if (host.watch !== undefined) this.watch = new ModelWatch(this, host, host.watch)
    this.quarantine = new Quarantine(name)
    this.traffic = new Traffic(this, host, {
      change: (operation) => this.#change(operation),
      loadBeside: (version) => this.#loadBeside(version),
      retire: () => this.#retire(),
    })
  }

  /** Its path, as far as it has one by now. */
  get source(): string | undefined {
    const { source } = this.definition
    return typeof source === 'string' ? source : undefined
  }

  /** The path that was given, where it was one. */
  get folder(): string | undefined {
    const { source } = this.#given
    return typeof source === 'string' ? source : undefined
  }

  /** The version that configuration says is to serve. */
  get #wished(): string | undefined {
    return this.options.current ?? this.#link
  }

  get options(): ModelDefinition['options'] {
    return this.definition.options
  }

  get current(): ModelVersion | undefined {
    const name = this.#history.at(-1)
    return name === undefined ? undefined : this.versions.get(name)
  }

  /** The version whose load is under way. */
  get loading(): ModelVersion | undefined {
    return [...this.versions.values()].find((version) => version.state === 'loading')
  }

  get isLazy(): boolean {
    return this.options.lazy === true
  }

  /** Version names, the highest first. */
  versionNames(): string[] {
    return [...this.versions.keys()].sort(compareVersions).reverse()
  }

  #find(name: string): ModelVersion | undefined {
    return this.versions.get(this.traffic.labels.versionOf(name) ?? name)
  }

  /** A version, by its name or a label. @throws ServingError VERSION_NOT_FOUND */
  version(name: string): ModelVersion {
    const version = this.#find(name)
    if (version !== undefined) return version
    const known = this.versionNames().join(', ') || 'none'
    const labels = Object.keys(this.traffic.labels.toJSON()).join(', ')
    throw new ServingError(
      'VERSION_NOT_FOUND',
      `model "${this.name}" has no version ${quote(name)}. Known: ${known}.${labels && ` Labels: ${labels}.`}`,
    )
  }

  /** Reads what the source holds, and loads the version that is to serve unless the model is lazy. Never rejects. */
  begin(): Promise<void> {
    return (this.firstLoad = this.#change(async () => {
      await this.watch?.begin()
      await this.#configure()
      this.#register(await this.#listSettled())
      if (!this.isLazy) await this.#loadFirst()
    }).catch((error: unknown) => this.#failed(error)))
  }

  /** Finds where it lies, and reads what the folder says, until it could be read once; what code says wins over it. */
  async #configure(): Promise<void> {
    await this.#locate()
    const { source } = this
    if (this.#isConfigured || this.definition.kind !== 'onnx' || source === undefined) return
    if (await isFolder(source)) await this.#readConfig(source)
  }

  /** Has a path for what is not on disk: it is looked for each time, since a cache may be emptied. */
  async #locate(): Promise<void> {
    const { definition } = this
    const { source } = this.#given
    if (definition.kind !== 'onnx' || source === undefined || typeof source === 'string') return
    this.definition = { ...definition, source: await this.#pathOf(source) }
  }

  #pathOf(source: ModelSource): Promise<string> {
    const { clock, artifacts } = this.host
    return locate(source, { cache: artifacts, clock, signal: this.#closing.signal })
  }

  /** @throws ServingError INVALID_CONFIG; what was read before still holds then */
  async #readConfig(folder: string): Promise<void> {
    const { definition } = this
    if (definition.kind !== 'onnx') return
    try {
      const config = await readModelConfig(join(folder, 'model.json'))
      const given = this.#given.options as OnnxVersionOptions
      this.definition = { ...definition, options: { ...config, ...given } }
      this.configFailure = undefined
      this.#isConfigured = true
    } catch (error) {
      this.configFailure = forClients(asServingError(error), folder, this.name)
      this.host.onConfigFailed(this.name)
      throw error
    }
  }

  /** A model of code alone, without a source, is one version. */
  async #list(): Promise<VersionSource[]> {
    const { definition, source } = this
    if (source === undefined || definition.kind === 'pipeline')
      return [{ version: '1', dir: resolve('.'), file: resolve('.') }]
    this.#link = await currentLink(source)
    return listVersions(source, definition.kind)
  }

  /** Those that nobody is still copying, where that is watched. */
  async #listSettled(): Promise<VersionSource[]> {
    const found = await this.#list()
    if (this.watch === undefined || this.folder === undefined) return found
    return this.watch.settled(found, (ms) => this.#pause(ms))
  }

  /** Waits, or until the model is closed. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#closing
      const timer = this.host.clock.setTimer(resolve, ms)
      const end = () => {
        timer.clear()
        resolve()
      }
      if (signal.aborted) end()
      else signal.addEventListener('abort', end, { once: true })
    })
  }

  async #loadFirst(): Promise<void> {
    await this.#configure()
    if (this.options.idleUnloadMs !== undefined && !this.isLazy) {
      throw new ServingError('INVALID_CONFIG', `model "${this.name}": idleUnloadMs needs lazy: true.`)
    }
    if (this.versions.size === 0) this.#register(await this.#listSettled())
    const name = this.#firstOf([
      this.#history.at(-1),
      this.host.desiredVersion(this.name),
      this.#wished,
      ...eligible(this.options.versions, this.versionNames()),
    ])
    if (name === undefined) return
    await this.#refuseChanging(name)
    await this.#load(name, { activate: true })
    await this.traffic.applyLabels()
  }

  /** The first of some versions that may serve. */
  #firstOf(names: readonly (string | undefined)[]): string | undefined {
    return names.find((name) => name !== undefined && !this.quarantine.has(name))
  }

  /** @throws ServingError MODEL_NOT_READY where a version's files are being replaced */
  async #refuseChanging(name: string): Promise<void> {
    const version = this.versions.get(name)
    if (version === undefined || version.state !== 'failed') return
    if ((await this.watch?.isAsTaken(version.source)) !== false) return
    throw new ServingError(
      'MODEL_NOT_READY',
      `${version.label} is being changed, and not loaded before that is over.`,
      {
        cause: version.reason,
      },
    )
  }

  /** Loads a version for something else than to serve; it is unloaded once nothing keeps it. */
  async #loadBeside(name: string): Promise<void> {
    if (this.current === undefined) await this.#loadFirst()
    const wasReady = this.versions.get(name)?.state === 'ready'
    await this.#load(name, { activate: false })
    if (!wasReady) this.#served.add(name)
  }

  /** Keeps the reason and tries again later: an eager model by itself, a lazy one at the next request. */
  #failed(error: unknown): void {
    if (this.#isClosed) return
    const failure = asServingError(error)
    this.failure = forClients(failure, this.source, this.name)
    if (failure instanceof NoRoom && this.isLazy) {
      // No fault of the model's: the next request may find room.
      this.host.logger.warn({ model: this.name }, failure.message)
      return
    }
    this.host.logger.error(
      { err: error, model: this.name },
      `model ${this.name} can't serve: ${failure.message}`,
    )
    this.#retry.failed(!this.isLazy)
  }

  /** Loads what should serve and does not. Never rejects. */
  async #recover(): Promise<void> {
    if (this.#isClosed || this.current?.state === 'ready') return
    await this.#change(() => this.#loadFirst()).catch((error: unknown) => this.#failed(error))
  }

  /**
   * Loads the model for a request that needs it: a lazy one, or one whose last attempt failed some time ago; or a
   * version of it that had to make room.
   */
  wake(version?: string): Promise<void> | undefined {
    if (version !== undefined && version !== this.current?.name && this.#evicted.has(version))
      return this.#reload(version)
    const state = this.current?.state
    const isHere = state === 'ready' || state === 'loading' || state === 'draining'
    const isIdle = !isHere || this.#isEvicting
    if (!isIdle || this.#isClosed || this.#retry.waitMs > 0) return undefined
    if (this.failure === undefined && !this.isLazy) return undefined
    return (this.#waking ??= this.#recover().finally(() => (this.#waking = undefined)))
  }

  /** @throws ServingError MODEL_NOT_READY where there is no room; why else it failed the version says */
  async #reload(version: string): Promise<void> {
    await this.#change(() => this.#load(version, { activate: false })).catch((error: unknown) => {
      if (error instanceof NoRoom) throw error
    })
  }

  /**
   * Counts a request that waits for a load, for which the model then stays.
   * @returns ends it
   * @throws ServingError MODEL_NOT_READY where too many wait
   */
  awaitLoad(mayExceed: boolean): () => void {
    const most = Math.max(mostWaiting, this.options.maxQueueRows ?? 0)
    if (this.#waiting >= most && !mayExceed) {
      throw new ServingError(
        'MODEL_NOT_READY',
        `model "${this.name}" is being loaded, and ${most} requests wait for it already.`,
        { headers: { 'retry-after': '1' } },
      )
    }
    this.#waiting++
    return () => {
      this.#waiting--
      this.host.residency.review()
    }
  }

  get isLoaded(): boolean {
    return [...this.versions.values()].some((version) => version.isLoaded)
  }

  get residentBytes(): number {
    return [...this.versions.values()].reduce((sum, version) => sum + version.residentBytes, 0)
  }

  get isEvictable(): boolean {
    return this.isLazy && [...this.versions.keys()].every((name) => this.traffic.holder(name) === undefined)
  }

  get isBusy(): boolean {
    const isLeaving = [...this.versions.values()].some(({ state }) => state === 'draining')
    return this.#changes > 0 || isLeaving || this.#isUsed
  }

  get #isUsed(): boolean {
    return this.#waiting > 0 || [...this.versions.values()].some(({ leases }) => leases > 0)
  }

  /** Unloads all versions of a lazy model, unless it is used by now. Never rejects. */
  evict(): Promise<void> {
    return this.#evict('to make room')
  }

  async #evict(why: string): Promise<void> {
    try {
      await this.#change(async () => {
        if (this.#isUsed || !this.isEvictable) return
        this.#isEvicting = true
        const loaded = [...this.versions.values()].filter(({ state }) => state === 'ready')
        for (const { name } of loaded) this.#evicted.add(name)
        await Promise.all(loaded.map((version) => version.unload()))
        this.host.logger.info({ model: this.name }, `${this.name} is unloaded ${why}`)
      })
    } catch (error) {
      if (!this.#isClosed) this.host.logger.error({ err: error }, `${this.name} did not unload`)
    } finally {
      this.#isEvicting = false
    }
  }

  /** A lazy model is used no longer, for now. */
  #released(): void {
    if (!this.isLazy || this.#isClosed) return
    this.host.residency.used(this)
    const { idleUnloadMs } = this.options
    if (idleUnloadMs === undefined) return
    this.#idle ??= new IdleTimer(this.host.clock, idleUnloadMs, () => {
      if (this.isLoaded) void this.#evict(`after ${idleUnloadMs} ms without a request`)
    })
    this.#idle.used()
  }

  /**
   * Works with versions beside those that serve: what is not loaded is, and is unloaded afterwards unless it was loaded or
   * switched to meanwhile.
   * @param after called when `work` has succeeded, before anything is unloaded
   * @throws as {@link ModelManager.load}; what `work` and `after` throw
   */
  async borrow<const Names extends readonly string[], T>(
    names: Names,
    work: (borrowed: { readonly [K in keyof Names]: Borrowed }) => Promise<T>,
    after: () => Promise<void> = async () => {},
  ): Promise<T> {
    const borrowed: Borrowed[] = []
    let result: T
    try {
      try {
        await this.#change(async () => {
          for (const name of names) borrowed.push(await this.#lend(name))
        })
        result = await work(borrowed as { readonly [K in keyof Names]: Borrowed })
      } finally {
        // Before the next change: one under way, such as an unload, may wait for these leases.
        for (const { lease } of borrowed) lease.release()
      }
      await after()
    } finally {
      for (const { version } of borrowed) await this.#giveBack(version)
    }
    return result
  }

  async #lend(name: string): Promise<Borrowed> {
    const isReady = this.versions.get(name)?.state === 'ready' && !this.#loans.has(name)
    // What had to make room would come back with the next request: it stays, until it has to again.
    const stays = isReady || this.#evicted.has(name)
    const version = await this.#resident(name)
    const lease = version.lease()
    if (lease === undefined) throw new ServingError('MODEL_NOT_READY', `${version.label} is ${version.state}`)
    if (!stays) this.#loans.lend(name)
    return { version, lease }
  }

  async #giveBack(version: ModelVersion): Promise<void> {
    if (this.#isClosed) return
    const unloading = this.#change(async () => {
      const isWanted = !this.#loans.giveBack(version.name) || version === this.current
      return isWanted ? [] : [version.unload()]
    })
    await unloading
      .then((all) => Promise.all(all))
      .catch((error: unknown) => {
        if (!this.#isClosed) this.host.logger.error({ err: error }, `${version.label} did not unload`)
      })
  }

  /** Milliseconds until the next attempt to load; 0 where none is waited for. */
  get retryInMs(): number {
    return this.#retry.waitMs
  }

  /**
   * Waits until a version whose session died has been loaded again, or could not be; undefined where no attempt is to
   * come soon.
   */
  comeback(name: string): Promise<void> | undefined {
    const version = this.versions.get(name)
    if (version === undefined || this.#isClosed) return undefined
    const retry = version === this.current ? this.#retry : this.#revivals.get(version)
    const isSoon = retry?.isPlanned === true && retry.waitMs <= longestComebackMs
    return version.state === 'loading' || isSoon ? version.nextChange() : undefined
  }

  /**
   * A lease, where it is to be had at once, on the version asked for by name or label; else on the canary, where it
   * takes the request and can serve; else on the current one.
   */
  tryLease(version: string | undefined, key?: string): Lease | undefined {
    if (version !== undefined) {
      const named = this.#find(version)
      return named === undefined || this.quarantine.has(named.name) ? undefined : named.lease()
    }
    const detour = this.traffic.detour(key)
    const lease = detour === undefined ? undefined : this.versions.get(detour)?.lease()
    return lease ?? this.current?.lease()
  }

  /**
   * @returns the version that was current until then
   * @throws as {@link ModelManager.load}
   */
  load(name: string, options: LoadOptions): Promise<string | undefined> {
    return this.#change(async () => {
      const from = this.current?.name
      await this.#load(name, options)
      return from
    })
  }

  async #load(name: string, { source, activate }: LoadOptions): Promise<void> {
    if (activate === true) this.quarantine.check(name)
    const version = await this.#resident(name, source)
    this.#loans.end(name)
    if (activate === true || this.current === undefined) this.#activate(version)
  }

  /** Sees to it that a version is loaded, whether it is to serve or not. */
  async #resident(name: string, source?: ModelSource): Promise<ModelVersion> {
    await this.#configure()
    const labelled = this.traffic.labels.versionOf(name)
    if (labelled !== undefined) {
      const message = `${quote(name)} is a label of ${this.name}@${labelled}: give the version's own name.`
      throw new ServingError('CONFLICT', message)
    }
    if (source !== undefined || !this.versions.has(name)) {
      checkName('version', name)
      const path = source === undefined ? undefined : await this.#pathOf(source)
      const given = path === undefined ? undefined : await this.#versionAt(path, name)
      // A folder that is the model's own source as well has one model.json, which is the model's.
      const isModelsOwn = given !== undefined && path === this.source
      if (given === undefined) this.#register(await this.#list())
      else this.#place(isModelsOwn ? withoutConfig(given) : given)
    }
    const version = this.version(name)
    const ended = await this.#room(version)
    const loaded = await version
      .load((reason) => this.#died(version, reason))
      .catch((error: unknown) => {
        if (!this.#isClosed) this.host.onLoadFailed(this.name, name)
        throw error
      })
      .finally(ended)
    this.#evicted.delete(name)
    this.#released()
    if (loaded) this.host.onLoaded(this.name, version.name, version.loadTimeMs ?? 0)
    return version
  }

  /** Waits for room for a load. @returns ends the load */
  async #room(version: ModelVersion): Promise<() => void> {
    const { residency } = this.host
    const { definition } = this
    // A pipeline holds nothing itself; what still has requests serves on.
    const isHeld = version.state === 'ready' || (version.state === 'draining' && version.leases > 0)
    if (!residency.isLimited || isHeld || definition.kind === 'pipeline') return () => {}
    const { instances = 1 } = definition.kind === 'onnx' ? definition.options : {}
    // Where the file can't be read, the load says so.
    version.artifactBytes =
      definition.kind === 'onnx' ? await artifactBytes(version.source.file).catch(() => 0) : 0
    return residency.admit(this, version.label, version.artifactBytes * instances)
  }

  async #versionAt(source: string, name: string): Promise<VersionSource> {
    const { kind } = this.definition
    if (kind !== 'pipeline') return versionAt(source, name, kind)
    throw new ServingError(
      'CONFLICT',
      `"${this.name}" is a pipeline: it is one version, of code, and has no source.`,
    )
  }

  /** Registers a version in the place of one that is not loaded. @throws ServingError CONFLICT */
  #place(source: VersionSource): void {
    const present = this.versions.get(source.version)
    if (present?.source.file === source.file) return
    if (present !== undefined && ['loading', 'ready', 'draining'].includes(present.state)) {
      throw new ServingError(
        'CONFLICT',
        `${present.label} is ${present.state} from another source: unload it first, or give the new one another name.`,
      )
    }
    this.versions.delete(source.version)
    this.#register([source])
  }

  #register(sources: readonly VersionSource[]): void {
    for (const source of sources) {
      if (this.versions.has(source.version)) continue
      this.versions.set(
        source.version,
        new ModelVersion(this.name, source, {
          ...this.options,
          cutOff: this.host.cutOff,
          clock: this.host.clock,
          learnt: this.host.learnt,
          open: (label, from, observer) => this.#open(label, from, observer),
          warn: (message) => this.host.logger.warn({ model: this.name, version: source.version }, message),
          info: (message) => this.host.logger.info({ model: this.name, version: source.version }, message),
          onRun: (version, rows, computeMs) => this.host.onRun(this.name, version, rows, computeMs),
          onReleased: () => this.#released(),
          onFreed: () => this.host.residency.review(),
        }),
      )
    }
  }

  #open(label: string, source: VersionSource, observer: LoadObserver): Promise<LoadedModel> {
    const { definition } = this
    switch (definition.kind) {
      case 'onnx':
        return openOnnxModel(label, source, definition.options, observer)
      case 'custom':
        return openCustomModel(label, source, definition.options)
      case 'pipeline':
        return openPipeline(label, definition.options, this.host.stages, (computeMs) =>
          this.host.onRun(this.name, source.version, 1, computeMs),
        )
    }
  }

  #activate(version: ModelVersion): void {
    this.failure = undefined
    this.hasServed = true
    this.host.stages.switches++
    this.#retry.succeeded()
    this.#served.add(version.name)
    if (version !== this.current) this.#history.push(version.name)
    this.#history = this.#history.slice(-historyLength)
    this.traffic.activated(version.name)
    this.host.logger.info({ model: this.name, version: version.name }, `${version.label} serves`)
    if (this.options.versions === undefined) this.#retire()
    else void this.#followPolicy()
  }

  /** Unloads what is neither current, nor kept for a rollback, nor held by a label, a canary or a shadow. */
  #retire(): void {
    const { keepPrevious = 1 } = this.options
    const recent = [...new Set([...this.#history].reverse())]
    const serving = this.versionNames().filter((name) => this.versions.get(name)?.state !== 'failed')
    const kept = new Set([...recent.slice(0, 1 + keepPrevious), ...wanted(this.options.versions, serving)])
    for (const name of this.#served) {
      const version = this.versions.get(name)
      if (kept.has(name) || version === undefined || this.traffic.holder(name) !== undefined) continue
      this.#served.delete(name)
      // Not awaited: its last requests may take their time, and nothing hangs on them.
      version.unload().catch((error: unknown) => {
        this.host.logger.error({ err: error }, `${version.label} did not unload`)
      })
    }
  }

  /** The session of a loaded version ended by itself: it is loaded again, with a growing wait. */
  #died(version: ModelVersion, reason: ServingError): void {
    if (version === this.current) return this.#failed(reason)
    this.host.logger.error({ err: reason }, `${version.label} can no longer serve: ${reason.message}`)
    this.#reviveLater(version)
  }

  /** Loads a version again that is not current, after a growing wait. */
  #reviveLater(version: ModelVersion): void {
    let revival = this.#revivals.get(version)
    if (revival === undefined) {
      revival = new Retry(this.host.clock, () => void this.#revive(version))
      this.#revivals.set(version, revival)
    }
    revival.failed(true)
  }

  /** Never rejects. */
  async #revive(version: ModelVersion): Promise<void> {
    await this.#change(async () => {
      if (this.versions.get(version.name) !== version) return
      // What is being replaced is taken once that is over.
      if (!(await this.#isAsTaken(version))) return this.#reviveLater(version)
      if (this.#arriving.has(version.name)) return this.#arrive(version)
      if (version.state === 'failed') await this.#load(version.name, {})
      this.#revivals.get(version)?.succeeded()
    }).catch((error: unknown) => {
      if (!this.#isClosed) this.#died(version, asServingError(error))
    })
  }

  async #isAsTaken({ source }: ModelVersion): Promise<boolean> {
    return (await this.watch?.isAsTaken(source)) ?? true
  }

  /** Takes a version that came into the folder or was mended there, as the options say. Never rejects. */
  welcome(source: VersionSource): Promise<void> {
    return this.#change(async () => {
      await this.#configure()
      this.#place(source)
      const version = this.versions.get(source.version) // no label of that name
      if (version !== undefined) await this.#arrive(version)
    }).catch((error: unknown) => this.#notFollowed(error))
  }

  /** A change of the folder could not be followed. */
  #notFollowed(error: unknown): void {
    if (this.current?.state !== 'ready') return this.#failed(error)
    if (this.#isClosed) return
    this.host.logger.error(
      { err: error, model: this.name },
      `model ${this.name} serves on: ${messageOf(error)}`,
    )
  }

  /** Knows a version again that was forgotten. Never rejects. */
  recall(source: VersionSource): Promise<void> {
    return this.#change(async () => this.#register([source])).catch(() => {}) // closed
  }

  /** Forgets a version that is gone, unless it is loaded, or the one that is to serve. Never rejects. */
  forget(name: string): Promise<void> {
    return this.#change(async () => {
      const version = this.versions.get(name)
      if (version === undefined || version === this.current || isLoaded(version)) return
      this.#drop(version)
      this.host.logger.info({ model: this.name, version: name }, `${version.label} is gone from its folder`)
    }).catch(() => {}) // closed
  }

  #drop(version: ModelVersion): void {
    this.#revivals.get(version)?.cancel()
    this.#revivals.delete(version)
    this.#arriving.delete(version.name)
    this.#served.delete(version.name)
    this.versions.delete(version.name)
  }

  /** Follows the link `current` of the folder to where it leads now. Never rejects. */
  followLink(name: string): Promise<void> {
    return this.#change(async () => {
      this.#link = name
      if (this.options.current === undefined) await this.#followWish()
    }).catch((error: unknown) => this.#notFollowed(error))
  }

  async #followWish(): Promise<void> {
    const wished = this.#wished === undefined ? undefined : this.versions.get(this.#wished)
    if (wished !== undefined && wished !== this.current) await this.#arrive(wished)
  }

  /**
   * Reads `model.json` again, which has changed. What is loaded goes on as it is; the rest is loaded by what it says from
   * now on. Never rejects.
   */
  reconfigure(): Promise<void> {
    return this.#change(async () => {
      const { source } = this
      if (source === undefined || this.definition.kind !== 'onnx') return
      const wished = this.#wished
      try {
        await this.#readConfig(source)
      } catch (error) {
        const { message } = asServingError(error)
        this.host.logger.error(
          { err: error, model: this.name },
          `model ${this.name} keeps its configuration: ${message}`,
        )
        return
      }
      this.host.logger.info({ model: this.name }, `model ${this.name} has a new configuration`)
      await this.traffic.applyLabels()
      const arriving = [...this.#arriving]
      for (const version of [...this.versions.values()]) {
        if (isLoaded(version)) continue
        this.#drop(version)
        this.#register([version.source])
      }
      const isServing = this.current?.state === 'ready'
      if (!isServing && !this.isLazy && (!this.hasServed || this.failure !== undefined))
        await this.#loadFirst()
      else if (wished !== this.#wished) await this.#followWish()
      // What could not be loaded may be, with other options.
      for (const name of arriving) {
        const version = this.versions.get(name)
        if (version?.state === 'registered') await this.#arrive(version)
      }
      if (isServing) await this.#loadWanted()
    }).catch((error: unknown) => this.#notFollowed(error))
  }

  #stepFor(name: string) {
    if (this.quarantine.has(name)) return 'none'
    const { current, options, hasServed, isLazy } = this
    const step = stepFor(name, {
      names: this.versionNames(),
      current,
      wished: this.#wished,
      hasServed,
      isLazy,
      options,
    })
    // A rollback stays until somebody switches again.
    const isPinned = current !== undefined && name !== current.name && this.host.isPinned(this.name)
    return step === 'activate' && isPinned ? 'load' : step
  }

  /** Loads a version as the options say; one that can't be is tried again, and disturbs nothing that serves. */
  async #arrive(version: ModelVersion, step = this.#stepFor(version.name)): Promise<void> {
    this.#arriving.delete(version.name)
    if (step === 'none') return this.#leaveAsleep(version)
    this.#revivals.get(version)?.cancel()
    try {
      const load = () => this.#load(version.name, { activate: step === 'activate' })
      if (version === this.current) await load()
      else await this.#recorded(step === 'activate' ? 'switch' : 'load', version, load)
      this.#revivals.get(version)?.succeeded()
      if (this.options.versions !== undefined) this.#served.add(version.name)
      this.#retire()
    } catch (error) {
      if (this.#isClosed) return
      if (version === this.current) return this.#failed(error) // tried again with the model
      const failure = asServingError(error)
      if (this.current === undefined) this.failure = forClients(failure, this.source, this.name)
      this.host.logger.error(
        { err: error, model: this.name, version: version.name },
        `${version.label} could not be loaded: ${failure.message}`,
      )
      this.#arriving.add(version.name)
      this.#reviveLater(version)
    }
  }

  /** A change that the folder asks for is as much one as those of people. */
  #recorded(
    action: 'switch' | 'load',
    { name: to }: ModelVersion,
    change: () => Promise<void>,
  ): Promise<void> {
    const draft = { action, model: this.name, to, ...(action === 'switch' && { from: this.current?.name }) }
    return this.host.changes.record(draft, { actor: 'repository' }, change)
  }

  /** A lazy model that is not loaded begins with the new version when it is next asked. */
  #leaveAsleep(version: ModelVersion): void {
    const { current, options } = this
    if (!this.isLazy || current === undefined || isLoaded(current)) return
    if (this.quarantine.has(version.name)) return
    if ((options.onNewVersion ?? 'activate') !== 'activate' || this.#wished !== undefined) return
    if (compareVersions(version.name, current.name) > 0) this.#history = []
  }

  /** Loads what `versions` asks for beside the version that serves, and unloads what it does not. */
  #followPolicy(): Promise<void> {
    return this.#change(() => this.#loadWanted()).catch(() => {}) // closed
  }

  async #loadWanted(): Promise<void> {
    for (const name of wanted(this.options.versions, this.versionNames())) {
      const version = this.versions.get(name)
      if (version?.state === 'registered') await this.#arrive(version, 'load')
    }
    this.#retire()
  }

  /** Makes the version that was current before current again. @throws ServingError CONFLICT */
  rollback(): Promise<RollbackResult> {
    return this.#change(async () => {
      const from = this.#history.at(-1)
      const isTarget = (name: string) => name !== from && !this.quarantine.has(name)
      const at = this.#history.findLastIndex(isTarget)
      const target = this.#history[at]
      if (from === undefined || target === undefined) {
        const why =
          this.#history.length > 1 ? 'has only served in versions of a quarantine' : 'was never switched'
        throw new ServingError('CONFLICT', `model "${this.name}" ${why}: there is nothing to go back to.`)
      }
      const reloaded = this.versions.get(target)?.state !== 'ready'
      await this.#load(target, { activate: false })
      this.#history = this.#history.slice(0, at + 1)
      this.#activate(this.version(target))
      return { version: target, from, reloaded }
    })
  }

  /** Unloads a version that is not current, or the whole model. @throws ServingError VERSION_NOT_FOUND, CONFLICT */
  async unload(name?: string): Promise<void> {
    // Its requests may take their time, or never end: that holds up no other change, such as a rollback.
    const unloading = await this.#change(async () =>
      name === undefined ? this.#unloadAll() : [this.#unloadOne(name)],
    )
    await Promise.all(unloading)
  }

  #unloadAll(): readonly Promise<void>[] {
    this.#history = []
    this.#served.clear()
    this.#arriving.clear()
    this.#evicted.clear()
    this.#loans.endAll()
    this.failure = undefined
    this.#cancelRetries()
    this.traffic.clear()
    return [...this.versions.values()].map((version) => version.unload())
  }

  #unloadOne(name: string): Promise<void> {
    const version = this.version(name)
    if (version === this.current) {
      throw new ServingError(
        'CONFLICT',
        `${version.label} serves: switch to another version, or unload the model.`,
      )
    }
    const holder = this.traffic.holder(version.name)
    if (holder !== undefined) {
      throw new ServingError('CONFLICT', `${version.label} can't be unloaded: ${holder}.`)
    }
    this.#evicted.delete(name)
    this.#loans.end(name)
    this.#arriving.delete(name)
    this.#revivals.get(version)?.cancel()
    return version.unload()
  }

  /** Frees every version once its leases have ended, or are cut off. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#closing.abort()
    this.#cancelRetries()
    this.#idle?.cancel()
    this.traffic.close()
    const unload = () => Promise.all([...this.versions.values()].map((version) => version.unload()))
    // A change that never ends is not waited for beyond the cut-off.
    const changes = this.host.cutOff.within(this.#control).catch(() => {})
    return changes.then(unload).then(() => {})
  }

  #cancelRetries(): void {
    this.#retry.cancel()
    for (const revival of this.#revivals.values()) revival.cancel()
  }

  #change<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#control.then(() => {
      if (this.#isClosed) throw closed()
      return operation()
    })
    this.#changes++
    // The caller has the error; the next change goes on.
    this.#control = result
      .catch(() => {})
      .then(() => {
        this.#changes--
        this.host.residency.review()
      })
    return result
  }
}

function withoutConfig({ version, dir, file }: VersionSource): VersionSource {
  return { version, dir, file }
}
