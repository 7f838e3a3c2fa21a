import { ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { ChangeQueue } from './change-queue.js'
import type { Lease } from './lease.js'
import type { ModelResidence } from './model-residence.js'
import type { ModelVersions } from './model-versions.js'
import type { VersionLoader } from './version-loader.js'
import type { ModelVersion } from './version.js'
import type { VersionHistory } from './version-history.js'

/** A version that somebody works with beside those that serve. */
export interface Borrowed {
  readonly version: ModelVersion
  readonly lease: Lease
}

interface LoansParts {
  readonly versions: ModelVersions
  readonly residence: ModelResidence
  readonly loader: VersionLoader
  readonly history: VersionHistory
  readonly queue: ChangeQueue
}

/** Versions of a model that are only loaded for somebody who works with them. */
export class Loans {
  /** How many work with each. */
  readonly #borrowers = new Map<string, number>()
  readonly #versions: ModelVersions
  readonly #residence: ModelResidence
  readonly #loader: VersionLoader
  readonly #history: VersionHistory
  readonly #queue: ChangeQueue

  constructor(
    { versions, residence, loader, history, queue }: LoansParts,
    private readonly logger: Logger,
  ) {
    this.#history = history
    this.#versions = versions
    this.#residence = residence
    this.#loader = loader
    this.#queue = queue
  }

  /** Somebody else wants a version loaded, or unloaded: it is on loan no longer. */
  end(version: string): void {
    this.#borrowers.delete(version)
  }

  endAll(): void {
    this.#borrowers.clear()
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
    let hasGivenUp = false
    let result: T
    try {
      try {
        await this.#queue.run(async () => {
          for (const name of names) borrowed.push(await this.#lend(name))
        })
        result = await work(borrowed as { readonly [K in keyof Names]: Borrowed })
      } finally {
        // Before the next change: one under way, such as an unload, may wait for these leases.
        for (const { lease } of borrowed) lease.release()
      }
      await after()
    } catch (error) {
      hasGivenUp = ServingError.is(error, 'ABORTED', 'CLOSED')
      throw error
    } finally {
      const givenBack = Promise.all(borrowed.map(({ version }) => this.#giveBack(version)))
      // A run that was given up may never end, and so neither may the unload.
      if (!hasGivenUp) await givenBack
    }
    return result
  }

  async #lend(name: string): Promise<Borrowed> {
    const isReady = this.#versions.get(name)?.state === 'ready' && !this.#borrowers.has(name)
    // What had to make room would come back with the next request: it stays, until it has to again.
    const stays = isReady || this.#residence.hasEvicted(name)
    const version = await this.#loader.load(name)
    const lease = version.lease()
    if (lease === undefined) throw new ServingError('MODEL_NOT_READY', `${version.label} is ${version.state}`)
    if (!stays) this.#borrowers.set(name, (this.#borrowers.get(name) ?? 0) + 1)
    return { version, lease }
  }

  async #giveBack(version: ModelVersion): Promise<void> {
    if (this.#queue.isClosed) return
    await this.#queue
      .run(async () => {
        const isLast = this.#isLast(version.name) && version !== this.#history.current
        // In a list, so that it is waited for outside of the queue: it may take its time.
        return isLast ? [version.unload()] : []
      })
      .then((unloading) => Promise.all(unloading))
      .catch((error: unknown) => {
        if (!this.#queue.isClosed) this.logger.error({ err: error }, `${version.label} did not unload`)
      })
  }

  /** One borrower fewer. @returns whether nobody wants the version loaded any more */
  #isLast(version: string): boolean {
    const borrowers = this.#borrowers.get(version)
    if (borrowers === undefined) return false
    if (borrowers > 1) this.#borrowers.set(version, borrowers - 1)
    else this.#borrowers.delete(version)
    return borrowers === 1
  }
}
