import { join } from 'node:path'
import { asServingError, ServingError } from '../errors.js'
import { readModelConfig } from './model-config.js'
import type { ModelDefinition } from './model-definition.js'
import type { ModelHost } from './model-host.js'
import type { OnnxVersionOptions } from './onnx-model.js'
import {
  currentLink,
  forClients,
  isFolder,
  listVersions,
  versionAt,
  withoutFiles,
  type VersionSource,
} from './repository.js'
import { locate } from './sources/locate.js'
import type { ModelSource } from './sources/model-source.js'

/** Where a model lies and what is said of it: by code, which wins, and by its folder. */
export class Configuration {
  #definition: ModelDefinition
  #isRead = false
  /** The version that the link `current` in the folder leads to. */
  #link: string | undefined
  #failure: ServingError | undefined

  /**
   * @param given what the code said
   * @param closing aborts what is being fetched
   */
  constructor(
    private readonly model: string,
    private readonly given: ModelDefinition,
    private readonly host: Pick<ModelHost, 'artifacts' | 'clock' | 'onConfigFailed'>,
    private readonly closing: AbortSignal,
  ) {
    this.#definition = given
  }

  /** What the code said, and once the folder was read what that says. */
  get definition(): ModelDefinition {
    return this.#definition
  }

  get options(): ModelDefinition['options'] {
    return this.#definition.options
  }

  get isLazy(): boolean {
    return this.options.lazy === true
  }

  /** Why the `model.json` is not heeded; what was read before still holds. */
  get failure(): ServingError | undefined {
    return this.#failure
  }

  /** The path that was given, where it was one. */
  get folder(): string | undefined {
    const { source } = this.given
    return typeof source === 'string' ? source : undefined
  }

  /** Where it lies, as far as it has a path by now. */
  get path(): string | undefined {
    const { source } = this.#definition
    return typeof source === 'string' ? source : undefined
  }

  /** The version that is to serve, where something is said of that. */
  get wished(): string | undefined {
    return this.options.current ?? this.#link
  }

  /** Finds where it lies, and reads what the folder says, until it could be read once. @throws ServingError as {@link reread} */
  async read(): Promise<void> {
    await this.#locate()
    const { path } = this
    if (this.#isRead || this.#definition.kind !== 'onnx' || path === undefined) return
    if (await isFolder(path)) await this.#readFolder(path)
  }

  /** Reads what the folder says again. @returns whether it may say anything @throws ServingError INVALID_CONFIG: what was read before still holds */
  async reread(): Promise<boolean> {
    const { path } = this
    if (path === undefined || this.#definition.kind !== 'onnx') return false
    await this.#readFolder(path)
    return true
  }

  /** Has a path for what is not on disk: it is looked for each time, since a cache may be emptied. */
  async #locate(): Promise<void> {
    const definition = this.#definition
    const { source } = this.given
    if (definition.kind !== 'onnx' || source === undefined || typeof source === 'string') return
    this.#definition = { ...definition, source: await this.#pathOf(source) }
  }

  #pathOf(source: ModelSource): Promise<string> {
    const { clock, artifacts } = this.host
    return locate(source, { cache: artifacts, clock, signal: this.closing })
  }

  async #readFolder(folder: string): Promise<void> {
    const definition = this.#definition
    if (definition.kind !== 'onnx') return
    try {
      const config = await readModelConfig(join(folder, 'model.json'))
      const given = this.given.options as OnnxVersionOptions
      this.#definition = { ...definition, options: { ...config, ...given } }
      this.#failure = undefined
      this.#isRead = true
    } catch (error) {
      this.#failure = forClients(asServingError(error), folder, this.model)
      this.host.onConfigFailed(this.model)
      throw error
    }
  }

  /** The versions that lie there. A model of code alone, without a source, is one version; a backend says which it has. */
  async versions(): Promise<VersionSource[]> {
    const { path } = this
    const { kind, options } = this.#definition
    if (kind === 'backend') return options.backend.versions(this.closing)
    if (path === undefined || kind === 'pipeline') return [withoutFiles('1')]
    this.#link = await currentLink(path)
    return listVersions(path, kind)
  }

  /** A version that lies elsewhere. @throws ServingError INVALID_MODEL, SOURCE_UNAVAILABLE; CONFLICT for what has no files */
  async versionFrom(source: ModelSource, name: string): Promise<VersionSource> {
    const path = await this.#pathOf(source)
    const { kind } = this.#definition
    if (kind === 'pipeline' || kind === 'backend') {
      const what = kind === 'pipeline' ? 'a pipeline: it is one version, of code,' : 'served elsewhere,'
      throw new ServingError('CONFLICT', `"${this.model}" is ${what} and has no source.`)
    }
    const { version, dir, file, config } = await versionAt(path, name, kind)
    // A folder that is the model's own source as well has one model.json, which is the model's.
    const isModels = path === this.path || config === undefined
    return isModels ? { version, dir, file } : { version, dir, file, config }
  }

  /** The link `current` of the folder leads to another version now. */
  linked(version: string): void {
    this.#link = version
  }
}
