import type { Logger } from '../logger.js'
import type { Agreement } from './agreement.js'

/** How a version dealt with a request that was not the caller's fault. */
export interface RequestOutcome {
  readonly version: string
  /** `error` where the version or the load on it is to blame; what the caller is to blame for is not told. */
  readonly status: 'ok' | 'error'
  /** Time from call to answer. */
  readonly latencyMs: number
  /** Whether the answer was kept by the cache, which says nothing of the version's speed. */
  readonly isCached: boolean
}

/** How a shadow's answer compares to that of the version that served. */
export interface ShadowComparison extends Agreement {
  /** The shadow. */
  readonly version: string
}

/** Who is told what becomes of a model's requests. What it throws is logged, and costs no request anything. */
export interface OutcomeListener {
  answered?(outcome: RequestOutcome): void
  compared?(comparison: ShadowComparison): void
}

/** Hands on what becomes of requests, to those who listen to their model. */
export class Outcomes {
  readonly #listeners = new Map<string, Set<OutcomeListener>>()

  constructor(private readonly logger: Logger) {}

  get isEmpty(): boolean {
    return this.#listeners.size === 0
  }

  /** @returns ends the subscription */
  listen(model: string, listener: OutcomeListener): () => void {
    const listeners = this.#listeners.get(model) ?? new Set()
    this.#listeners.set(model, listeners.add(listener))
    return () => this.#remove(model, listener)
  }

  #remove(model: string, listener: OutcomeListener): void {
    const listeners = this.#listeners.get(model)
    listeners?.delete(listener)
    if (listeners?.size === 0) this.#listeners.delete(model)
  }

  answered(model: string, outcome: RequestOutcome): void {
    this.#tell(model, (listener) => listener.answered?.(outcome))
  }

  compared(model: string, comparison: ShadowComparison): void {
    this.#tell(model, (listener) => listener.compared?.(comparison))
  }

  #tell(model: string, tell: (listener: OutcomeListener) => void): void {
    for (const listener of this.#listeners.get(model) ?? []) {
      try {
        tell(listener)
      } catch (thrown) {
        this.logger.error({ err: thrown, model }, `a listener of the outcomes of ${model} failed`)
      }
    }
  }
}
