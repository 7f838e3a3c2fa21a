import { asServingError, messageOf } from '../errors.js'
import { stepFor } from './arrival.js'
import type { ChangeQueue } from './change-queue.js'
import type { ChangeDraft } from './changes.js'
import type { Configuration } from './configuration.js'
import type { ModelHost } from './model-host.js'
import type { ModelVersions } from './model-versions.js'
import type { Quarantine } from './quarantine.js'
import type { Recovery } from './recovery.js'
import type { VersionSource } from './repository.js'
import type { VersionHistory } from './version-history.js'
import { compareVersions } from './version-order.js'
import { wanted } from './version-policy.js'
import { isLoaded, type ModelVersion } from './version.js'

/** The loads of a model that its folder asks for. */
export interface FollowerLoads {
  /** Within a change: loads the version that is to serve. */
  loadFirst(): Promise<void>
  /** Within a change: loads a version, and makes it current where that is said. */
  load(version: string, options: { readonly activate?: boolean }): Promise<void>
  /** Within a change: places the labels that the options state. */
  applyLabels(): Promise<void>
}

interface FollowerParts {
  readonly config: Configuration
  readonly versions: ModelVersions
  readonly history: VersionHistory
  readonly recovery: Recovery
  readonly queue: ChangeQueue
  readonly quarantine: Quarantine
}

type Step = ReturnType<typeof stepFor>

/** Does with a model what has changed in its folder: versions that came, were mended or went, its `model.json`, its link. */
export class FolderFollower {
  /** Versions that came into the folder and could not be loaded yet. */
  readonly #arriving = new Set<string>()
  readonly #config: Configuration
  readonly #versions: ModelVersions
  readonly #history: VersionHistory
  readonly #recovery: Recovery
  readonly #queue: ChangeQueue
  readonly #quarantine: Quarantine

  constructor(
    private readonly model: string,
    { config, versions, history, recovery, queue, quarantine }: FollowerParts,
    private readonly host: Pick<ModelHost, 'logger' | 'changes' | 'desired'>,
    private readonly loads: FollowerLoads,
  ) {
    this.#config = config
    this.#versions = versions
    this.#history = history
    this.#recovery = recovery
    this.#queue = queue
    this.#quarantine = quarantine
  }

  /** Takes a version that came into the folder or was mended there, as the options say. Never rejects. */
  welcome(source: VersionSource): Promise<void> {
    return this.#follow(async () => {
      await this.#config.read()
      this.#versions.place(source)
      const version = this.#versions.get(source.version)
      if (version !== undefined) await this.arrive(version)
    })
  }

  /** Knows a version again that was forgotten. Never rejects. */
  recall(source: VersionSource): Promise<void> {
    return this.#queue.run(async () => this.#versions.register([source])).catch(() => {}) // closed
  }

  /** Forgets a version that is gone, unless it is loaded, or the one that is to serve. Never rejects. */
  forget(name: string): Promise<void> {
    return this.#queue
      .run(async () => {
        const version = this.#versions.get(name)
        if (version === undefined || version === this.#history.current || isLoaded(version)) return
        this.#drop(version)
        this.host.logger.info(
          { model: this.model, version: name },
          `${version.label} is gone from its folder`,
        )
      })
      .catch(() => {}) // closed
  }

  #drop(version: ModelVersion): void {
    this.#recovery.forget(version)
    this.#arriving.delete(version.name)
    this.#history.forget(version.name)
    this.#versions.delete(version)
  }

  /** Follows the link `current` of the folder to where it leads now. Never rejects. */
  followLink(name: string): Promise<void> {
    return this.#follow(async () => {
      this.#config.linked(name)
      if (this.#config.options.current === undefined) await this.#followWish()
    })
  }

  async #followWish(): Promise<void> {
    const { wished } = this.#config
    const version = wished === undefined ? undefined : this.#versions.get(wished)
    if (version !== undefined && version !== this.#history.current) await this.arrive(version)
  }

  /**
   * Reads `model.json` again, which has changed. What is loaded goes on as it is; the rest is loaded by what it says from
   * now on. Never rejects.
   */
  reconfigure(): Promise<void> {
    return this.#follow(async () => {
      const { wished } = this.#config
      if (!(await this.#reread())) return
      await this.loads.applyLabels()
      const arriving = [...this.#arriving]
      for (const version of this.#versions.all) {
        if (isLoaded(version)) continue
        this.#drop(version)
        this.#versions.register([version.source])
      }
      const isServing = this.#history.current?.state === 'ready'
      const isToServe = !this.#history.hasServed || this.#recovery.failure !== undefined
      if (!isServing && !this.#config.isLazy && isToServe) await this.loads.loadFirst()
      else if (wished !== this.#config.wished) await this.#followWish()
      // What could not be loaded may be, with other options.
      for (const name of arriving) {
        const version = this.#versions.get(name)
        if (version?.state === 'registered') await this.arrive(version)
      }
      if (isServing) await this.#loadWanted()
    })
  }

  /** @returns whether there is a new configuration */
  async #reread(): Promise<boolean> {
    const { model } = this
    const { logger } = this.host
    try {
      if (!(await this.#config.reread())) return false
      logger.info({ model }, `model ${model} has a new configuration`)
      return true
    } catch (error) {
      const { message } = asServingError(error)
      logger.error({ err: error, model }, `model ${model} keeps its configuration: ${message}`)
      return false
    }
  }

  /** Never rejects: what can't be followed costs nothing that serves. */
  #follow(change: () => Promise<void>): Promise<void> {
    return this.#queue.run(change).catch((error: unknown) => {
      const { model } = this
      if (this.#history.current?.state !== 'ready') return this.#recovery.failed(error)
      if (this.#queue.isClosed) return
      this.host.logger.error({ err: error, model }, `model ${model} serves on: ${messageOf(error)}`)
    })
  }

  /** Loads what `versions` asks for beside the version that serves, and unloads what it does not. Never rejects. */
  followPolicy(): Promise<void> {
    return this.#queue.run(() => this.#loadWanted()).catch(() => {}) // closed
  }

  async #loadWanted(): Promise<void> {
    for (const name of wanted(this.#config.options.versions, this.#versions.names())) {
      const version = this.#versions.get(name)
      if (version?.state === 'registered') await this.arrive(version, 'load')
    }
    this.#history.retire()
  }

  #stepFor(name: string): Step {
    if (this.#quarantine.has(name)) return 'none'
    const { wished, isLazy, options } = this.#config
    const names = this.#versions.names()
    const { current, hasServed } = this.#history
    const step = stepFor(name, { names, current, wished, hasServed, isLazy, options })
    // A rollback stays until somebody switches again.
    const { pinned = false } = this.host.desired(this.model)
    const isPinned = pinned && current !== undefined && name !== current.name
    return step === 'activate' && isPinned ? 'load' : step
  }

  /**
   * Within a change: loads a version as the options say; one that can't be is tried again, and disturbs nothing that
   * serves.
   */
  async arrive(version: ModelVersion, step = this.#stepFor(version.name)): Promise<void> {
    this.#arriving.delete(version.name)
    if (step === 'none') return this.#leaveAsleep(version)
    this.#recovery.cancel(version)
    try {
      await this.#loadFor(step, version)
      this.#recovery.revived(version)
      if (this.#config.options.versions !== undefined) this.#history.keep(version.name)
      this.#history.retire()
    } catch (error) {
      if (this.#queue.isClosed) return
      const { model } = this
      const { current } = this.#history
      if (version === current) return this.#recovery.failed(error) // tried again with the model
      if (current === undefined) this.#recovery.keep(error)
      this.host.logger.error(
        { err: error, model, version: version.name },
        `${version.label} could not be loaded: ${asServingError(error).message}`,
      )
      this.#arriving.add(version.name)
      this.#recovery.reviveLater(version)
    }
  }

  /** A change that the folder asks for is as much one as those of people. */
  async #loadFor(step: 'activate' | 'load', version: ModelVersion): Promise<void> {
    const { current } = this.#history
    const load = () => this.loads.load(version.name, { activate: step === 'activate' })
    if (version === current) return load()
    const draft = { model: this.model, to: version.name }
    const change: ChangeDraft =
      step === 'load' ? { ...draft, action: 'load' } : { ...draft, action: 'switch', from: current?.name }
    await this.host.changes.record(change, { actor: 'repository' }, load)
  }

  isArriving(version: string): boolean {
    return this.#arriving.has(version)
  }

  /** Leaves a version that could not be loaded, or without one all of them. */
  leave(version?: string): void {
    if (version === undefined) this.#arriving.clear()
    else this.#arriving.delete(version)
  }

  /** A lazy model that is not loaded begins with the new version when it is next asked. */
  #leaveAsleep(version: ModelVersion): void {
    const { current } = this.#history
    const { isLazy, options, wished } = this.#config
    if (!isLazy || current === undefined || isLoaded(current) || this.#quarantine.has(version.name)) return
    if ((options.onNewVersion ?? 'activate') !== 'activate' || wished !== undefined) return
    if (compareVersions(version.name, current.name) > 0) this.#history.leave()
  }
}
