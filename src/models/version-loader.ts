import { ServingError } from '../errors.js'
import type { ChangeQueue } from './change-queue.js'
import type { Configuration } from './configuration.js'
import type { ModelHost } from './model-host.js'
import type { ModelResidence } from './model-residence.js'
import type { ModelVersions } from './model-versions.js'
import { checkName, quote } from './names.js'
import type { ModelSource } from './sources/model-source.js'
import type { ModelVersion } from './version.js'

interface LoaderParts {
  readonly config: Configuration
  readonly versions: ModelVersions
  readonly residence: ModelResidence
  readonly queue: ChangeQueue
}

/** Loads versions of a model, once there is room for them. */
export class VersionLoader {
  readonly #config: Configuration
  readonly #versions: ModelVersions
  readonly #residence: ModelResidence
  readonly #queue: ChangeQueue

  /** @param onDied told of a loaded version whose session ended by itself */
  constructor(
    private readonly model: string,
    { config, versions, residence, queue }: LoaderParts,
    private readonly host: Pick<ModelHost, 'onLoaded' | 'onLoadFailed'>,
    private readonly onDied: (version: ModelVersion, reason: ServingError) => void,
  ) {
    this.#config = config
    this.#versions = versions
    this.#residence = residence
    this.#queue = queue
  }

  /**
   * Within a change: sees to it that a version is loaded, whether it is to serve or not.
   * @param source where it lies, if not in the model's folder
   * @throws as {@link ModelManager.load}
   */
  async load(name: string, source?: ModelSource): Promise<ModelVersion> {
    await this.#config.read()
    this.#refuseLabel(name)
    if (source !== undefined || !this.#versions.byName.has(name)) await this.#find(name, source)
    const version = this.#versions.known(name)
    const ended = await this.#residence.admit(version)
    const isNew = await version
      .load((reason) => this.onDied(version, reason))
      .catch((error: unknown) => {
        if (!this.#queue.isClosed) this.host.onLoadFailed(this.model, name)
        throw error
      })
      .finally(ended)
    this.#residence.entered(name)
    if (isNew) this.host.onLoaded(this.model, version.name, version.loadTimeMs ?? 0)
    return version
  }

  #refuseLabel(name: string): void {
    const labelled = this.#versions.labels.versionOf(name)
    if (labelled === undefined) return
    const message = `${quote(name)} is a label of ${this.model}@${labelled}: give the version's own name.`
    throw new ServingError('CONFLICT', message)
  }

  /** Knows a version that is not known yet, or lies elsewhere now. */
  async #find(name: string, source: ModelSource | undefined): Promise<void> {
    checkName('version', name)
    if (source === undefined) this.#versions.register(await this.#config.versions())
    else this.#versions.place(await this.#config.versionFrom(source, name))
  }
}
