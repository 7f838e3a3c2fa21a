import type { Logger } from '../logger.js'
import type { KnownModels } from './known-models.js'

/** Which model answers where another can't. */
export class Fallbacks {
  /** Models of whose wrong fallback the log has been told. */
  readonly #warned = new Set<string>()

  constructor(
    private readonly models: KnownModels,
    private readonly logger: Logger,
  ) {}

  /** The model that answers where `model` can't. */
  of(model: string): string | undefined {
    const { all } = this.models
    const fallback = all.get(model)?.options.fallback
    if (fallback === undefined || all.has(fallback)) return fallback
    if (this.#warned.has(model)) return undefined
    this.#warned.add(model)
    this.logger.warn({ model, fallback }, `${model} has a fallback that is no model: ${fallback}`)
    return undefined
  }

  /** Whether `model` may have a fallback; false only once that is known. */
  mayHave(model: string): boolean {
    if (!this.models.isListed) return true
    const found = this.models.all.get(model)
    return found !== undefined && (found.options.fallback !== undefined || !found.hasServed)
  }
}
