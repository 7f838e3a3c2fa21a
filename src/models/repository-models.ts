import { basename, resolve } from 'node:path'
import type { Clock } from '../clock.js'
import { asServingError, type ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { KnownModels } from './known-models.js'
import type { ModelDefinition } from './model-definition.js'
import { forClients, listModels } from './repository.js'
import { RepositoryWatch } from './repository-watch.js'
import { isLoaded } from './version.js'

/** The models of a repository's folder: those at the start and, where it is watched, those that come and go. */
export class RepositoryModels {
  /** Models of the folder, rather than of code. */
  readonly #found = new Set<string>()
  #problem: ServingError | undefined
  #watch: RepositoryWatch | undefined

  /** @param repository the folder, where there is one */
  constructor(
    private readonly repository: string | undefined,
    private readonly models: KnownModels,
    private readonly host: { readonly clock: Clock; readonly logger: Logger },
  ) {}

  /** Why the folder could not be read; undefined once it could. */
  get problem(): ServingError | undefined {
    return this.#problem
  }

  /** The models of code, and with them those of the folder; where both name one, it is that of code. Never rejects. */
  async besides(
    definitions: ReadonlyMap<string, ModelDefinition>,
  ): Promise<ReadonlyMap<string, ModelDefinition>> {
    const { repository } = this
    if (repository === undefined) return definitions
    const all = new Map(definitions)
    try {
      for (const [name, source] of await listModels(repository)) {
        if (all.has(name)) continue
        all.set(name, { kind: 'onnx', source, options: {} })
        this.#found.add(name)
      }
    } catch (error) {
      const failure = asServingError(error)
      this.#problem = forClients(failure, repository, basename(resolve(repository)))
      this.host.logger.error({ err: error }, failure.message)
    }
    return all
  }

  /** Looks at the folder and at those of all models again and again, once the models are listed. */
  watch(intervalMs: number): void {
    const watched = {
      repository: this.repository,
      all: () => this.models.all.values(),
      listed: (folders: ReadonlyMap<string, string>) => this.#follow(folders),
    }
    const watch = new RepositoryWatch(watched, this.host, intervalMs)
    this.#watch = watch
    void this.models.listed.then(() => watch.start())
  }

  stop(): void {
    this.#watch?.stop()
  }

  /** Adds the models that came into the repository, and forgets those that are gone and not loaded. */
  #follow(folders: ReadonlyMap<string, string>): void {
    for (const [name, source] of folders) {
      if (this.models.all.has(name)) continue
      // Its watch takes its versions once they have come to rest.
      const model = this.models.add(name, { kind: 'onnx', source, options: {} })
      model.isRequired = this.#problem !== undefined
      this.#found.add(name)
      this.host.logger.info({ model: name }, `model ${name} came into the repository`)
    }
    this.#problem = undefined
    for (const name of this.#found) {
      const model = this.models.all.get(name)
      if (folders.has(name) || model === undefined) continue
      if ([...model.versions.values()].some(isLoaded)) continue
      this.#found.delete(name)
      this.models.remove(model)
      this.host.logger.info({ model: name }, `model ${name} is gone from the repository`)
    }
  }
}
