import { join } from 'node:path'
import type { Clock } from '../clock.js'
import { messageOf, ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Configuration } from './configuration.js'
import type { FolderFollower } from './folder-follower.js'
import type { ModelVersions } from './model-versions.js'
import { currentLink, listVersions, type VersionSource } from './repository.js'
import { Settling, type Look } from './settling.js'
import { isLoaded, type ModelVersion } from './version.js'
import { compareVersions } from './version-order.js'
import type { WatchSettings } from './watch-options.js'

const absent = 'absent'

/** A model whose folder is watched. */
export interface WatchedModel {
  readonly name: string
  readonly config: Configuration
  readonly versions: ModelVersions
  /** Told what has changed. */
  readonly follower: FolderFollower
}

/**
 * What has changed in a model's folder since the last look: versions that came, were mended, changed or went, its
 * `model.json`, and where its link `current` leads.
 */
export class ModelWatch {
  readonly #settling: Settling
  /** The fingerprints that versions were taken with. They stay: a folder that was gone for a while is nothing new. */
  readonly #taken = new Map<string, string>()
  /** Versions that were told to have changed, or to be gone, although they serve. */
  readonly #told = new Set<string>()
  /** The fingerprint of the `model.json` that was read. */
  #config: string | undefined
  #link: string | undefined
  #isUnreadable = false

  constructor(
    private readonly model: WatchedModel,
    private readonly host: { readonly clock: Clock; readonly logger: Logger },
    private readonly settings: WatchSettings,
  ) {
    this.#settling = new Settling({ ...settings, clock: host.clock })
  }

  /** Remembers what the configuration is, before it is read for the first time. */
  async begin(): Promise<void> {
    const { folder } = this.model.config
    if (folder === undefined) return
    this.#config = (await this.#lookAtConfig(folder)).fingerprint
    this.#link = await currentLink(folder)
  }

  /**
   * Those versions that nobody is still copying. Where there is none it waits once, as long as it takes to see.
   * @param closing ends that wait
   * @throws ServingError MODEL_NOT_READY where all are
   */
  async settled(sources: readonly VersionSource[], closing: AbortSignal): Promise<VersionSource[]> {
    const { stableMs, completeMarker } = this.settings
    if (this.model.config.folder === undefined) return [...sources]
    let settled = await this.#settledOf(sources)
    if (settled.length === 0 && completeMarker === undefined) {
      await this.#pause(stableMs, closing)
      settled = await this.#settledOf(sources)
    }
    if (settled.length > 0) return settled
    const sign = completeMarker === undefined ? 'its files still change' : `"${completeMarker}" is not there`
    const names = sources.map(({ version }) => version).join(', ')
    throw new ServingError(
      'MODEL_NOT_READY',
      `no version of model "${this.model.name}" is complete: ${sign}. Found: ${names}.`,
    )
  }

  #pause(ms: number, closing: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.host.clock.setTimer(resolve, ms)
      const end = () => {
        timer.clear()
        resolve()
      }
      if (closing.aborted) end()
      else closing.addEventListener('abort', end, { once: true })
    })
  }

  async #settledOf(sources: readonly VersionSource[]): Promise<VersionSource[]> {
    const settled: VersionSource[] = []
    for (const source of sources) {
      const look = await this.#look(source, true)
      if (look?.isSettled !== true) continue
      this.#taken.set(source.version, look.fingerprint)
      settled.push(source)
    }
    return settled
  }

  /** Whether a version's files are those that it was taken with, as far as that is known. */
  async isAsTaken(source: VersionSource): Promise<boolean> {
    const taken = this.#taken.get(source.version)
    return taken === undefined || (await this.#look(source))?.fingerprint === taken
  }

  #look({ config, dir, file }: VersionSource, isStart = false) {
    // A single file lies in a folder that is not the version's.
    return this.#settling.look(config === undefined ? file : dir, config !== undefined, isStart)
  }

  async #lookAtConfig(folder: string): Promise<{ fingerprint: string; isSettled: boolean }> {
    return (await this.#settling.look(join(folder, 'model.json'))) ?? { fingerprint: absent, isSettled: true }
  }

  /** One look at the folder. What is to be loaded is not waited for. */
  async poll(): Promise<void> {
    const { folder } = this.model.config
    if (folder === undefined) return
    await this.#followConfig(folder)
    await this.#followLink(folder)
    const found = await this.#list(folder)
    if (found === undefined) return
    for (const source of found) await this.#follow(source)
    this.#forget(found)
  }

  async #followConfig(folder: string): Promise<void> {
    const { fingerprint, isSettled } = await this.#lookAtConfig(folder)
    if (!isSettled || fingerprint === this.#config) return
    const isFirst = this.#config === undefined
    this.#config = fingerprint
    if (!isFirst) void this.model.follower.reconfigure()
  }

  /** The highest first: of several that come at once it is loaded first. */
  async #list(folder: string): Promise<VersionSource[] | undefined> {
    try {
      const { kind } = this.model.config.definition
      const found = await listVersions(folder, kind === 'custom' ? 'custom' : 'onnx', true)
      this.#isUnreadable = false
      return found.sort((a, b) => compareVersions(b.version, a.version))
    } catch (error) {
      // A volume that is away for a while must cost nothing that serves, nor what is known.
      if (!this.#isUnreadable) {
        const { name } = this.model
        this.host.logger.warn(
          { err: error, model: name },
          `${name}: its folder can't be read: ${messageOf(error)}`,
        )
      }
      this.#isUnreadable = true
      return undefined
    }
  }

  async #follow(source: VersionSource): Promise<void> {
    const look = await this.#look(source)
    if (look === undefined) return
    const { fingerprint, isSettled } = look
    const { version: name } = source
    const version = this.model.versions.get(name)
    const taken = this.#taken.get(name)
    if (version !== undefined && (isLoaded(version) || version.state === 'unloaded')) {
      if (version.source.dir === source.dir) this.#compare(version, look)
      return
    }
    if (!isSettled || (fingerprint === taken && version !== undefined)) return
    this.#taken.set(name, fingerprint)
    // What was forgotten and is back as it was is known again, and nothing new.
    if (fingerprint === taken) void this.model.follower.recall(source)
    else void this.model.follower.welcome(source)
  }

  /** What did serve under a name is not read again under it by itself, not even where it is unloaded by now. */
  #compare(version: ModelVersion, { fingerprint, isSettled }: Look): void {
    const { name } = version
    const taken = this.#taken.get(name) ?? fingerprint
    const isChanged = fingerprint !== taken
    if (isChanged && !version.changed) {
      this.#warn(
        name,
        'its files changed since it was loaded. It goes on with what it loaded; give new files a version of their own.',
      )
    }
    if (isLoaded(version)) version.changed = isChanged
    else version.changed ||= isChanged
    // Whether a load may read what lies there now, the load itself sees.
    this.#taken.set(name, isSettled && !isLoaded(version) ? fingerprint : taken)
  }

  #forget(found: readonly VersionSource[]): void {
    const there = new Set(found.map(({ version }) => version))
    for (const name of this.#taken.keys()) {
      const version = this.model.versions.get(name)
      if (there.has(name)) this.#told.delete(name)
      if (there.has(name) || version === undefined) continue
      if (!isLoaded(version)) void this.model.follower.forget(name)
      else if (!this.#told.has(name)) {
        this.#told.add(name)
        this.#warn(name, 'it is gone from its folder. What is loaded goes on; it can not be loaded again.')
      }
    }
  }

  async #followLink(folder: string): Promise<void> {
    const link = await currentLink(folder)
    if (link === this.#link) return
    this.#link = link
    if (link !== undefined) void this.model.follower.followLink(link)
  }

  #warn(version: string, message: string): void {
    const { name } = this.model
    this.host.logger.warn({ model: name, version }, `${name}@${version}: ${message}`)
  }
}
