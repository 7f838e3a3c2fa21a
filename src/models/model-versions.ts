import { ServingError } from '../errors.js'
import { SeenArtifact } from '../execution/seen-artifact.js'
import type { Configuration } from './configuration.js'
import { openCustomModel } from './custom-model.js'
import { Labels } from './labels.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import type { ModelHost } from './model-host.js'
import { quote } from './names.js'
import { openOnnxModel } from './onnx-model.js'
import { openPipeline } from './pipeline-model.js'
import type { VersionSource } from './repository.js'
import { SeenFolder } from './seen-folder.js'
import { compareVersions } from './version-order.js'
import { isLoaded, ModelVersion } from './version.js'

/** What was seen of a version's files: by which of the two depends on what it is made of. */
class SeenFiles {
  readonly artifact = new SeenArtifact()
  readonly folder = new SeenFolder()

  constructor(readonly file: string) {}
}

/** The versions of a model that are known, loaded or not, by their names and by labels. */
export class ModelVersions {
  readonly #versions = new Map<string, ModelVersion>()
  readonly labels = new Labels()
  /** The files of versions that were ready, by version: none is loaded again from others under the same name. */
  readonly #seen = new Map<string, SeenFiles>()

  /** @param onReleased told when nobody holds a version any more, for now */
  constructor(
    private readonly model: string,
    private readonly config: Configuration,
    private readonly host: ModelHost,
    private readonly onReleased: () => void,
  ) {}

  get byName(): ReadonlyMap<string, ModelVersion> {
    return this.#versions
  }

  get all(): ModelVersion[] {
    return [...this.#versions.values()]
  }

  get(name: string): ModelVersion | undefined {
    return this.#versions.get(name)
  }

  /** A version, by its name or a label. */
  find(name: string): ModelVersion | undefined {
    return this.#versions.get(this.labels.versionOf(name) ?? name)
  }

  /** A version, by its name or a label. @throws ServingError VERSION_NOT_FOUND */
  known(name: string): ModelVersion {
    const version = this.find(name)
    if (version !== undefined) return version
    const known = this.names().join(', ') || 'none'
    const labels = Object.keys(this.labels.toJSON()).join(', ')
    throw new ServingError(
      'VERSION_NOT_FOUND',
      `model "${this.model}" has no version ${quote(name)}. Known: ${known}.${labels && ` Labels: ${labels}.`}`,
    )
  }

  /** The highest first. */
  names(): string[] {
    return [...this.#versions.keys()].sort(compareVersions).reverse()
  }

  /** Knows the versions that lie there; those that are known already stay as they are. */
  register(sources: readonly VersionSource[]): void {
    for (const source of sources) {
      if (!this.#versions.has(source.version)) this.#versions.set(source.version, this.#versionOf(source))
    }
  }

  /** Registers a version in the place of one that is not loaded. @throws ServingError CONFLICT */
  place(source: VersionSource): void {
    const present = this.#versions.get(source.version)
    if (present?.source.file === source.file) return
    if (present !== undefined && isLoaded(present)) {
      throw new ServingError(
        'CONFLICT',
        `${present.label} is ${present.state} from another source: unload it first, or give the new one another name.`,
      )
    }
    this.#versions.delete(source.version)
    // A version that was forgotten and comes again in its place is no other source.
    if (this.#seen.get(source.version)?.file !== source.file) this.#seen.delete(source.version)
    this.register([source])
  }

  /** Has the next load of a version, or without one of any, take its files as they are; not while it is loaded. */
  readAnew(version?: string): void {
    for (const name of version === undefined ? this.#seen.keys() : [version]) {
      const known = this.#versions.get(name)
      if (known === undefined || !isLoaded(known)) this.#seen.delete(name)
    }
  }

  delete(version: ModelVersion): void {
    this.#versions.delete(version.name)
  }

  /** Unloads all of them, each once the requests on it have ended or are cut off. */
  async unload(): Promise<void> {
    await Promise.all(this.all.map((version) => version.unload()))
  }

  #versionOf(source: VersionSource): ModelVersion {
    const { logger, cutOff, clock, learnt, residency, onRun } = this.host
    const { model } = this
    const { version, file } = source
    const about = { model, version }
    let seen: SeenFiles
    return new ModelVersion(model, source, {
      ...this.config.options,
      cutOff,
      clock,
      learnt,
      open: (label, from, observer) => {
        seen = this.#seen.get(version) ?? new SeenFiles(file)
        return this.#open(label, from, observer, seen)
      },
      onReady: () => this.#seen.set(version, seen),
      warn: (message) => logger.warn(about, message),
      info: (message) => logger.info(about, message),
      onRun: (version, rows, computeMs) => onRun(model, version, rows, computeMs),
      onReleased: () => this.onReleased(),
      onFreed: () => residency.review(),
    })
  }

  #open(
    label: string,
    source: VersionSource,
    observer: LoadObserver,
    { artifact, folder }: SeenFiles,
  ): Promise<LoadedModel> {
    const { definition } = this.config
    switch (definition.kind) {
      case 'onnx':
        return openOnnxModel(label, source, definition.options, observer, artifact)
      case 'custom': {
        const load = () => openCustomModel(label, source, definition.options)
        return source.hasNoFiles === true ? load() : folder.load(source.file, load)
      }
      case 'backend':
        return definition.options.backend.open(label, source, observer, artifact)
      case 'pipeline':
        return openPipeline(label, definition.options, this.host.stages, (computeMs) =>
          this.host.onRun(this.model, source.version, 1, computeMs),
        )
    }
  }
}
