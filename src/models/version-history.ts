import type { Logger } from '../logger.js'
import type { Configuration } from './configuration.js'
import type { ModelVersions } from './model-versions.js'
import type { Quarantine } from './quarantine.js'
import type { ModelVersion } from './version.js'
import { wanted } from './version-policy.js'

/** How many switches can be undone. */
const length = 16

export interface RollbackResult {
  /** The version that serves now. */
  readonly version: string
  /** The one that served before. */
  readonly from: string
  /** Whether it was no longer resident, and had to be loaded again. */
  readonly reloaded: boolean
}

/** Which versions of a model were current, and what of them is kept in memory. */
export class VersionHistory {
  /** Whether a version ever was current. */
  hasServed = false
  /** Versions that were current, the present one last. */
  #names: string[] = []
  /** Versions that were current, or were loaded for something else: unloaded once nothing keeps them. */
  readonly #served = new Set<string>()

  /** @param holder what keeps a version loaded although it may not be current; undefined where nothing does */
  constructor(
    private readonly versions: ModelVersions,
    private readonly config: Configuration,
    private readonly quarantine: Quarantine,
    private readonly logger: Logger,
    private readonly holder: (version: string) => string | undefined,
  ) {}

  /** The version that serves, or is to. */
  get current(): ModelVersion | undefined {
    const name = this.currentName
    return name === undefined ? undefined : this.versions.get(name)
  }

  get currentName(): string | undefined {
    return this.#names.at(-1)
  }

  /** Whether no other version was current. */
  get isOfOne(): boolean {
    return this.#names.length < 2
  }

  /** The name of the version that was current before, and may be again. */
  get previousName(): string | undefined {
    return this.#names.findLast((name) => name !== this.currentName && !this.quarantine.has(name))
  }

  /** A version is current from now on. */
  add(version: string): void {
    this.hasServed = true
    this.#served.add(version)
    if (version !== this.currentName) this.#names = [...this.#names, version].slice(-length)
  }

  /** An earlier version is current again. */
  backTo(version: string): void {
    this.#names = this.#names.slice(0, this.#names.lastIndexOf(version, -2) + 1)
  }

  /** No version is current any more; those that were are kept as before. */
  leave(): void {
    this.#names = []
  }

  /** No version is current any more, and none is kept. */
  clear(): void {
    this.leave()
    this.#served.clear()
  }

  /** A version was loaded for something that may end. */
  keep(version: string): void {
    this.#served.add(version)
  }

  /** A version is known no longer. */
  forget(version: string): void {
    this.#served.delete(version)
  }

  /** Unloads what is neither current, nor kept for a rollback or by the options, nor held. */
  retire(): void {
    const { keepPrevious = 1, versions: policy } = this.config.options
    const recent = [...new Set([...this.#names].reverse())]
    const sound = this.versions.names().filter((name) => this.versions.get(name)?.state !== 'failed')
    const kept = new Set([...recent.slice(0, 1 + keepPrevious), ...wanted(policy, sound)])
    for (const name of this.#served) {
      const version = this.versions.get(name)
      if (kept.has(name) || version === undefined || this.holder(name) !== undefined) continue
      this.#served.delete(name)
      // Not awaited: its last requests may take their time, and nothing hangs on them.
      version.unload().catch((error: unknown) => {
        this.logger.error({ err: error }, `${version.label} did not unload`)
      })
    }
  }
}
