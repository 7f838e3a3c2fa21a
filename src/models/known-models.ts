import { ServingError } from '../errors.js'
import { nearest } from '../options.js'
import type { ModelDefinition } from './model-definition.js'
import type { ModelHost } from './model-host.js'
import { checkName, closed, quote } from './names.js'
import { notReady } from './not-ready.js'
import { ServedModel } from './served-model.js'
import type { ModelSource } from './sources/model-source.js'

/** The models of a process by name: those of code and of the repository, and those that a load brought a source for. */
export class KnownModels {
  readonly #models = new Map<string, ServedModel>()
  /** Models that only a load spoke of, by the number of such loads under way. */
  readonly #provisional = new Map<ServedModel, number>()
  #listing: Promise<void> = Promise.resolve()
  #isListed = true
  #isClosing = false

  constructor(private readonly host: ModelHost) {}

  /** Says that models are still being looked up: whoever asks for one waits until they are. @param listing never rejects */
  listedBy(listing: Promise<void>): void {
    this.#isListed = false
    this.#listing = listing.finally(() => (this.#isListed = true))
  }

  /** Settles once the models of code and of the repository are known, loaded or not. */
  get listed(): Promise<void> {
    return this.#listing
  }

  /** Whether {@link listed} has settled. */
  get isListed(): boolean {
    return this.#isListed
  }

  /** Lets nobody have a model any more who {@link known | waits} for it. */
  refuse(): void {
    this.#isClosing = true
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  get all(): ReadonlyMap<string, ServedModel> {
    return this.#models
  }

  /** Sorted. */
  names(): string[] {
    return [...this.#models.keys()].sort()
  }

  /** @throws ServingError MODEL_NOT_FOUND */
  get(name: string): ServedModel {
    const model = this.#models.get(name)
    if (model !== undefined) return model
    const names = this.names()
    const near = name.length > 128 ? undefined : nearest(name, names)
    const known =
      names.length === 0 ? 'No model is served.' : `The models are ${names.slice(0, 20).join(', ')}.`
    throw new ServingError(
      'MODEL_NOT_FOUND',
      `no model ${quote(name)}. ${near === undefined ? known : `Did you mean "${near}"?`}`,
    )
  }

  /**
   * A model, once all are known; where a source is given also a new one.
   * @throws ServingError MODEL_NOT_FOUND, CLOSED; INVALID_OPTIONS for what can't name a new one
   */
  async known(name: string, source?: ModelSource): Promise<ServedModel> {
    await this.#listing
    if (this.#isClosing) throw closed()
    if (source === undefined || this.#models.has(name)) return this.get(name)
    checkName('model', name)
    // Not watched: the source is that of one version.
    const host = { ...this.host, watch: undefined }
    const model = this.add(name, { kind: 'onnx', source, options: {} }, host)
    this.#provisional.set(model, 0)
    return model
  }

  add(name: string, definition: ModelDefinition, host = this.host): ServedModel {
    const model = new ServedModel(name, definition, host)
    this.#models.set(name, model)
    return model
  }

  /** Forgets a model, and frees what it has loaded. */
  remove(model: ServedModel): void {
    this.#models.delete(model.name)
    void model.close()
  }

  /** Loads something of a model. One that only failed loads spoke of is forgotten with the last of them. */
  async tryLoad(model: ServedModel, load: () => Promise<void>): Promise<void> {
    const calls = this.#provisional.get(model)
    if (calls !== undefined) this.#provisional.set(model, calls + 1)
    try {
      await load()
      this.#provisional.delete(model)
    } catch (error) {
      this.#failed(model)
      throw error
    }
  }

  #failed(model: ServedModel): void {
    const calls = this.#provisional.get(model)
    if (calls === undefined) return
    this.#provisional.set(model, calls - 1)
    if (calls > 1) return
    this.#provisional.delete(model)
    this.remove(model)
  }

  /** What keeps the process from being ready; empty when every model that must serve has served. */
  problems(): string[] {
    const missing = [...this.#models.values()].filter(
      ({ hasServed, isLazy, isRequired }) => !hasServed && !isLazy && isRequired,
    )
    const problems = missing.map((model) => notReady(model).message)
    return this.#isListed ? problems : ['the models are still being looked up', ...problems]
  }

  /** Frees every model, once the requests on it have ended or are cut off. */
  async close(): Promise<void> {
    await Promise.all([...this.#models.values()].map((model) => model.close()))
  }
}
