import { ServingError } from '../errors.js'
import { artifactBytes } from '../execution/external-data.js'
import type { ChangeQueue } from './change-queue.js'
import type { Configuration } from './configuration.js'
import { IdleTimer } from './idle-timer.js'
import type { ModelHost } from './model-host.js'
import type { ModelVersions } from './model-versions.js'
import type { Resident } from './residency.js'
import type { ModelVersion } from './version.js'

/** Requests that may wait for a load: as many as may wait in a queue, or as `maxQueueRows` says where that is more. */
const mostWaiting = 1024

interface ResidenceParts {
  readonly config: Configuration
  readonly versions: ModelVersions
  readonly queue: ChangeQueue
}

/** What a model takes of the memory: a lazy one leaves it where others need room, or once it was idle long enough. */
export class ModelResidence implements Resident {
  lastUse = 0
  /** Requests that wait for the model to be loaded. */
  #waiting = 0
  #isEvicting = false
  /** Versions that had to leave: a request for one of them loads it again. */
  readonly #evicted = new Set<string>()
  #idle: IdleTimer | undefined

  readonly #config: Configuration
  readonly #versions: ModelVersions
  readonly #queue: ChangeQueue

  /** @param holder what keeps a version loaded although nobody may ask for it; undefined where nothing does */
  constructor(
    private readonly model: string,
    { config, versions, queue }: ResidenceParts,
    private readonly host: Pick<ModelHost, 'residency' | 'clock' | 'logger'>,
    private readonly holder: (version: string) => string | undefined,
  ) {
    this.#config = config
    this.#versions = versions
    this.#queue = queue
  }

  get isLoaded(): boolean {
    return this.#versions.all.some((version) => version.isLoaded)
  }

  get residentBytes(): number {
    return this.#versions.all.reduce((sum, version) => sum + version.residentBytes, 0)
  }

  get isEvictable(): boolean {
    return this.#config.isLazy && this.#versions.all.every(({ name }) => this.holder(name) === undefined)
  }

  get isBusy(): boolean {
    const isLeaving = this.#versions.all.some(({ state }) => state === 'draining')
    return this.#queue.isBusy || isLeaving || this.#isUsed
  }

  get #isUsed(): boolean {
    return this.#waiting > 0 || this.#versions.all.some(({ leases }) => leases > 0)
  }

  /** Whether the model is being unloaded, so as to make room. */
  get isEvicting(): boolean {
    return this.#isEvicting
  }

  hasEvicted(version: string): boolean {
    return this.#evicted.has(version)
  }

  /**
   * Counts a request that waits for a load, for which the model then stays.
   * @returns ends it
   * @throws ServingError MODEL_NOT_READY where too many wait
   */
  awaitLoad(mayExceed: boolean): () => void {
    const most = Math.max(mostWaiting, this.#config.options.maxQueueRows ?? 0)
    if (this.#waiting >= most && !mayExceed) {
      throw new ServingError(
        'MODEL_NOT_READY',
        `model "${this.model}" is being loaded, and ${most} requests wait for it already.`,
        { headers: { 'retry-after': '1' } },
      )
    }
    this.#waiting++
    return () => {
      this.#waiting--
      this.host.residency.review()
    }
  }

  /** Waits for room for a load. @returns ends the load @throws ServingError MODEL_NOT_READY where there is none, CLOSED */
  async admit(version: ModelVersion): Promise<() => void> {
    const { residency } = this.host
    const { kind, options } = this.#config.definition
    // A pipeline and what is served elsewhere hold nothing themselves; what still has requests serves on.
    const isInMemory = version.state === 'ready' || (version.state === 'draining' && version.leases > 0)
    const isElsewhere = kind === 'pipeline' || (kind === 'backend' && version.source.hasNoFiles === true)
    if (!residency.isLimited || isInMemory || isElsewhere) return () => {}
    const { instances = 1 } = kind === 'onnx' ? options : kind === 'backend' ? options.backend : {}
    // Where the file can't be read, the load says so.
    version.artifactBytes = kind === 'custom' ? 0 : await artifactBytes(version.source.file).catch(() => 0)
    return residency.admit(this, version.label, version.artifactBytes * instances)
  }

  /** A version was loaded. */
  entered(version: string): void {
    this.#evicted.delete(version)
    this.released()
  }

  /** A version was unloaded for good, or without one all were. */
  left(version?: string): void {
    if (version === undefined) this.#evicted.clear()
    else this.#evicted.delete(version)
  }

  /** Nobody holds a version any more: a lazy model is used no longer, for now. */
  released(): void {
    if (!this.#config.isLazy || this.#queue.isClosed) return
    this.host.residency.used(this)
    const { idleUnloadMs } = this.#config.options
    if (idleUnloadMs === undefined) return
    this.#idle ??= new IdleTimer(this.host.clock, idleUnloadMs, () => {
      if (this.isLoaded) void this.#evict(`after ${idleUnloadMs} ms without a request`)
    })
    this.#idle.used()
  }

  evict(): Promise<void> {
    return this.#evict('to make room')
  }

  async #evict(why: string): Promise<void> {
    const { logger } = this.host
    try {
      await this.#queue.run(async () => {
        if (this.#isUsed || !this.isEvictable) return
        this.#isEvicting = true
        const loaded = this.#versions.all.filter(({ state }) => state === 'ready')
        for (const { name } of loaded) this.#evicted.add(name)
        await Promise.all(loaded.map((version) => version.unload()))
        logger.info({ model: this.model }, `${this.model} is unloaded ${why}`)
      })
    } catch (error) {
      if (!this.#queue.isClosed) logger.error({ err: error }, `${this.model} did not unload`)
    } finally {
      this.#isEvicting = false
    }
  }

  close(): void {
    this.#idle?.cancel()
  }
}
