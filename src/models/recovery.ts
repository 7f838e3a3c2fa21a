import { asServingError, type ServingError } from '../errors.js'
import { Retry } from '../retry.js'
import type { ChangeQueue } from './change-queue.js'
import type { Configuration } from './configuration.js'
import type { ModelHost } from './model-host.js'
import { forClients } from './repository.js'
import { NoRoom } from './residency.js'
import type { ModelVersion } from './version.js'
import type { VersionHistory } from './version-history.js'

/** A request that is to run again waits for a reload that begins within this time. */
const longestComebackMs = 10_000

interface RecoveryParts {
  readonly config: Configuration
  readonly history: VersionHistory
  readonly queue: ChangeQueue
}

/** The loads of a model that are made again. */
export interface Reloads {
  /** Within a change: loads the version that is to serve. */
  loadFirst(): Promise<void>
  /** Within a change: loads a version again that is not current. */
  revive(version: ModelVersion): Promise<void>
}

/** Loads again what failed or died, with growing waits: the version that serves, and those beside it. */
export class Recovery {
  #failure: ServingError | undefined
  readonly #retry: Retry
  #waking: Promise<void> | undefined
  /** Of versions that are not current. */
  readonly #revivals = new Map<ModelVersion, Retry>()

  readonly #config: Configuration
  readonly #history: VersionHistory
  readonly #queue: ChangeQueue

  constructor(
    private readonly model: string,
    { config, history, queue }: RecoveryParts,
    private readonly host: Pick<ModelHost, 'clock' | 'logger'>,
    private readonly reloads: Reloads,
  ) {
    this.#config = config
    this.#history = history
    this.#queue = queue
    this.#retry = new Retry(host.clock, () => void this.#recover())
  }

  /** Why no version serves. */
  get failure(): ServingError | undefined {
    return this.#failure
  }

  /** Milliseconds until the next attempt to load what is to serve; 0 where none is waited for. */
  get waitMs(): number {
    return this.#retry.waitMs
  }

  /** Keeps the reason and tries again later: an eager model by itself, a lazy one at the next request. */
  failed(error: unknown): void {
    if (this.#queue.isClosed) return
    const failure = this.keep(error)
    const { model } = this
    const { isLazy } = this.#config
    if (failure instanceof NoRoom && isLazy) {
      // No fault of the model's: the next request may find room.
      this.host.logger.warn({ model }, failure.message)
      return
    }
    this.host.logger.error({ err: error, model }, `model ${model} can't serve: ${failure.message}`)
    this.#retry.failed(!isLazy)
  }

  /** Keeps why no version serves, where another attempt is seen to. @returns it as the log may have it */
  keep(error: unknown): ServingError {
    const failure = asServingError(error)
    this.#failure = forClients(failure, this.#config.path, this.model)
    return failure
  }

  /** A version serves. */
  succeeded(): void {
    this.#failure = undefined
    this.#retry.succeeded()
  }

  /** Nothing is to serve, and that is no failure. */
  clear(): void {
    this.#failure = undefined
    this.cancelAll()
  }

  /** Loads what should serve and does not. Never rejects. */
  async #recover(): Promise<void> {
    if (this.#queue.isClosed || this.#history.current?.state === 'ready') return
    await this.#queue.run(() => this.reloads.loadFirst()).catch((error: unknown) => this.failed(error))
  }

  /** For a request that needs it: loads a lazy model, or one whose last attempt failed some time ago; undefined for others. */
  wake(): Promise<void> | undefined {
    if (this.#queue.isClosed || this.#retry.waitMs > 0) return undefined
    if (this.#failure === undefined && !this.#config.isLazy) return undefined
    return (this.#waking ??= this.#recover().finally(() => (this.#waking = undefined)))
  }

  /** The session of a loaded version ended by itself. */
  died(version: ModelVersion, reason: ServingError): void {
    if (version === this.#history.current) return this.failed(reason)
    this.host.logger.error({ err: reason }, `${version.label} can no longer serve: ${reason.message}`)
    this.reviveLater(version)
  }

  /** Loads a version again that is not current, after a growing wait. */
  reviveLater(version: ModelVersion): void {
    let revival = this.#revivals.get(version)
    if (revival === undefined) {
      revival = new Retry(this.host.clock, () => void this.#revive(version))
      this.#revivals.set(version, revival)
    }
    revival.failed(true)
  }

  /** Never rejects. */
  async #revive(version: ModelVersion): Promise<void> {
    await this.#queue
      .run(() => this.reloads.revive(version))
      .catch((error: unknown) => {
        if (!this.#queue.isClosed) this.died(version, asServingError(error))
      })
  }

  revived(version: ModelVersion): void {
    this.#revivals.get(version)?.succeeded()
  }

  /** Whether a version is to be loaded again so soon that a request may wait for it. */
  isSoon(version: ModelVersion): boolean {
    const retry = version === this.#history.current ? this.#retry : this.#revivals.get(version)
    return retry?.isPlanned === true && retry.waitMs <= longestComebackMs
  }

  /** Loads a version again by itself no more. */
  cancel(version: ModelVersion): void {
    this.#revivals.get(version)?.cancel()
  }

  /** {@link cancel}, for a version that is known no longer. */
  forget(version: ModelVersion): void {
    this.cancel(version)
    this.#revivals.delete(version)
  }

  cancelAll(): void {
    this.#retry.cancel()
    for (const revival of this.#revivals.values()) revival.cancel()
  }
}
