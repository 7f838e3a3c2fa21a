import { join, resolve } from 'node:path'
import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { openCustomModel, type CustomVersionOptions } from './custom-model.js'
import type { ChangeOrigin } from './changes.js'
import type { CutOff } from './cut-off.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import type { LearntStore } from './learnt.js'
import { readModelConfig } from './model-config.js'
import { openOnnxModel, type OnnxVersionOptions } from './onnx-model.js'
import { checkName, closed, quote } from './names.js'
import { openPipeline, type PipelineVersionOptions } from './pipeline-model.js'
import { forClients, isFolder, listVersions, versionAt, type VersionSource } from './repository.js'
import { Retry } from '../retry.js'
import type { Stages } from './stages.js'
import { compareVersions } from './version-order.js'
import type { Lease } from './lease.js'
import { ModelVersion } from './version.js'

/** A model to serve, as `createServing` hands it over. */
export type ModelDefinition =
  | { readonly kind: 'onnx'; readonly source: string; readonly options: OnnxVersionOptions }
  | { readonly kind: 'custom'; readonly source: string | undefined; readonly options: CustomVersionOptions }
  | { readonly kind: 'pipeline'; readonly source: undefined; readonly options: PipelineVersionOptions }

export interface LoadOptions extends ChangeOrigin {
  /** The artifact of a version that the model's folder does not hold: an `.onnx` file, or a folder with one. */
  readonly source?: string
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

/** What a model needs of its manager. */
export interface ModelHost {
  readonly logger: Logger
  readonly clock: Clock
  readonly cutOff: CutOff
  readonly learnt: LearntStore
  readonly stages: Stages
  /** The version that the replicas have decided on, which wins over configuration at start. */
  readonly desiredVersion: (model: string) => string | undefined
  readonly onLoaded: (model: string, version: string, loadTimeMs: number) => void
  readonly onRun: (model: string, version: string, rows: number, computeMs: number) => void
}

/** A request that is to run again waits for a reload that begins within this time. */
const longestComebackMs = 10_000

/** How many switches can be undone. */
const historyLength = 16

/**
 * A model's versions and which of them serves. Changes run one after another, so that a load, a switch, an unload
 * and a close never interleave.
 */
export class ServedModel {
  readonly versions = new Map<string, ModelVersion>()
  /** Settles with the first load, be it a success or not; a request that comes before waits for it. */
  firstLoad: Promise<void> = Promise.resolve()
  /** Whether a version ever served: what fails or is unloaded later makes no replica unready. */
  hasServed = false
  /** Why no version serves. */
  failure: ServingError | undefined
  /** Versions that were current, the present one last. */
  #history: string[] = []
  /** Versions that ever were current: those that are neither current nor kept are unloaded. */
  readonly #served = new Set<string>()
  #control: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #isConfigured = false
  readonly #retry: Retry
  /** Of versions that are loaded without being current, and whose session ended by itself. */
  readonly #revivals = new Map<ModelVersion, Retry>()
  #waking: Promise<void> | undefined

  constructor(
    readonly name: string,
    /** What the code said, and once the folder was read what that says. */
    public definition: ModelDefinition,
    private readonly host: ModelHost,
  ) {
    this.#retry = new Retry(host.clock, () => void this.#recover())
  }

  get source(): string | undefined {
    return this.definition.source
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

  /** @throws ServingError VERSION_NOT_FOUND */
  version(name: string): ModelVersion {
    const version = this.versions.get(name)
    if (version !== undefined) return version
    const known = this.versionNames().join(', ') || 'none'
    throw new ServingError(
      'VERSION_NOT_FOUND',
      `model "${this.name}" has no version ${quote(name)}. Known: ${known}.`,
    )
  }

  /** Reads what the source holds, and loads the version that is to serve unless the model is lazy. Never rejects. */
  begin(): Promise<void> {
    return (this.firstLoad = this.#change(async () => {
      await this.#configure()
      this.#register(await this.#list())
      if (!this.isLazy) await this.#loadFirst()
    }).catch((error: unknown) => this.#failed(error)))
  }

  /** Reads what the folder says, until it could be read once; what code says wins over it. */
  async #configure(): Promise<void> {
    const { definition } = this
    if (this.#isConfigured || definition.kind !== 'onnx' || !(await isFolder(definition.source))) return
    const config = await readModelConfig(join(definition.source, 'model.json'))
    this.definition = { ...definition, options: { ...config, ...definition.options } }
    this.#isConfigured = true
  }

  /** A model of code alone, without a source, is one version. */
  async #list(): Promise<VersionSource[]> {
    const { definition } = this
    if (definition.source === undefined) return [{ version: '1', dir: resolve('.'), file: resolve('.') }]
    return listVersions(definition.source, definition.kind)
  }

  async #loadFirst(): Promise<void> {
    await this.#configure()
    if (this.versions.size === 0) this.#register(await this.#list())
    const desired = this.#history.at(-1) ?? this.host.desiredVersion(this.name)
    const name = desired ?? this.options.current ?? this.versionNames()[0]
    if (name !== undefined) await this.#load(name, { activate: true })
  }

  /** Keeps the reason and tries again later: an eager model by itself, a lazy one at the next request. */
  #failed(error: unknown): void {
    if (this.#isClosed) return
    const failure = asServingError(error)
    this.failure = forClients(failure, this.source, this.name)
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

  /** Loads the model for a request that needs it: a lazy one, or one whose last attempt failed some time ago. */
  wake(): Promise<void> | undefined {
    const state = this.current?.state
    const isIdle = state === undefined || state === 'unloaded' || state === 'failed'
    if (!isIdle || this.#isClosed || this.#retry.waitMs > 0) return undefined
    if (this.failure === undefined && !this.isLazy) return undefined
    return (this.#waking ??= this.#recover().finally(() => (this.#waking = undefined)))
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

  /** A lease on the version asked for, or on the current one, where it is to be had at once. */
  tryLease(version: string | undefined): Lease | undefined {
    return (version === undefined ? this.current : this.versions.get(version))?.lease()
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
    await this.#configure()
    if (source !== undefined || !this.versions.has(name)) {
      checkName('version', name)
      const given = source === undefined ? undefined : await this.#versionAt(source, name)
      // A folder that is the model's own source as well has one model.json, which is the model's.
      const isModelsOwn = given !== undefined && source === this.source
      if (given === undefined) this.#register(await this.#list())
      else this.#place(isModelsOwn ? withoutConfig(given) : given)
    }
    const version = this.version(name)
    const loaded = await version.load((reason) => this.#died(version, reason))
    if (loaded) this.host.onLoaded(this.name, version.name, version.loadTimeMs ?? 0)
    if (activate === true || this.current === undefined) this.#activate(version)
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
    this.host.logger.info({ model: this.name, version: version.name }, `${version.label} serves`)
    this.#retire()
  }

  /** Unloads what is neither current nor kept for a rollback, of the versions that were current. */
  #retire(): void {
    const { keepPrevious = 1 } = this.options
    const recent = [...new Set([...this.#history].reverse())]
    const kept = new Set(recent.slice(0, 1 + keepPrevious))
    for (const name of this.#served) {
      const version = this.versions.get(name)
      if (kept.has(name) || version === undefined) continue
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
      if (version.state === 'failed') await this.#load(version.name, {})
      this.#revivals.get(version)?.succeeded()
    }).catch((error: unknown) => {
      if (!this.#isClosed) this.#died(version, asServingError(error))
    })
  }

  /** Makes the version that was current before current again. @throws ServingError CONFLICT */
  rollback(): Promise<RollbackResult> {
    return this.#change(async () => {
      const from = this.#history.at(-1)
      const target = this.#history.at(-2)
      if (from === undefined || target === undefined) {
        throw new ServingError(
          'CONFLICT',
          `model "${this.name}" was never switched: there is nothing to go back to.`,
        )
      }
      const reloaded = this.versions.get(target)?.state !== 'ready'
      await this.#load(target, { activate: false })
      this.#history.pop()
      this.#activate(this.version(target))
      return { version: target, from, reloaded }
    })
  }

  /** Unloads a version that is not current, or the whole model. @throws ServingError VERSION_NOT_FOUND, CONFLICT */
  unload(name?: string): Promise<void> {
    return this.#change(async () => {
      if (name === undefined) {
        this.#history = []
        this.#served.clear()
        this.failure = undefined
        this.#cancelRetries()
        await Promise.all([...this.versions.values()].map((version) => version.unload()))
        return
      }
      const version = this.version(name)
      if (version === this.current) {
        throw new ServingError(
          'CONFLICT',
          `${version.label} serves: switch to another version, or unload the model.`,
        )
      }
      await version.unload()
    })
  }

  /** Frees every version once its leases have ended, or are cut off. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetries()
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
    this.#control = result.catch(() => {}) // the caller has the error; the next change goes on
    return result
  }
}

function withoutConfig({ version, dir, file }: VersionSource): VersionSource {
  return { version, dir, file }
}
