import { ServingError } from '../errors.js'
import type { VersionSource } from './repository.js'
import { compareVersions } from './version-order.js'
import { ModelVersion, type VersionOptions } from './version.js'

/** A model's versions, which of them is current, and the one queue of changes to them. */
export class ServedModel {
  readonly versions = new Map<string, ModelVersion>()
  /** Versions that were current, the present one last. */
  readonly #history: ModelVersion[] = []
  #control: Promise<unknown> = Promise.resolve()
  /** Settles with the first load, be it a success or not; a request that comes before waits for it. */
  firstLoad: Promise<void> = Promise.resolve()
  /** Why the first load failed, until a version serves. */
  failure: ServingError | undefined

  constructor(
    readonly name: string,
    readonly source: string,
    public options: VersionOptions,
  ) {}

  get current(): ModelVersion | undefined {
    return this.#history.at(-1)
  }

  /** The version that stays resident for a rollback. */
  get previous(): ModelVersion | undefined {
    return this.#history.at(-2)
  }

  /** The version whose load is under way. */
  get loading(): ModelVersion | undefined {
    return [...this.versions.values()].find((version) => version.state === 'loading')
  }

  /** Adds versions that are not known yet. */
  register(sources: readonly VersionSource[]): void {
    for (const source of sources) {
      if (!this.versions.has(source.version)) {
        this.versions.set(source.version, new ModelVersion(this.name, source, this.options))
      }
    }
  }

  /** Version names, the highest first. */
  versionNames(): string[] {
    return [...this.versions.keys()].sort(compareVersions).reverse()
  }

  /** Makes a version current; returns the version that no longer is of use. */
  activate(version: ModelVersion): ModelVersion | undefined {
    if (version === this.current) return undefined
    const retired = this.previous
    this.#history.push(version)
    this.#history.splice(0, this.#history.length - 2)
    return retired === version ? undefined : retired
  }

  /** Runs changes one after another, so that a load, a switch and a close never interleave. */
  change<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#control.then(operation)
    this.#control = result.catch(() => {}) // the caller has the error; the next change goes on
    return result
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
}

export function quote(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 57)}...` : name)
}
