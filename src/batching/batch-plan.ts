import { LRUCache } from 'lru-cache'
import { CostCurve, type LearntCosts } from './cost-curve.js'

/** Kinds of inputs that a plan keeps apart; of a model that takes any length there may be no end of them. */
const mostCurves = 64

/** What a plan has learnt, as plain JSON: costs by the signature of the inputs. */
export type LearntPlan = Readonly<Record<string, LearntCosts>>

export interface BatchPlanOptions {
  /** The most rows of one run; 1 keeps requests apart. Default: 1. */
  readonly maxBatchSize?: number
  /** Whether batches are no larger than pays, by what runs cost; else they are as large as they may be. Default: false. */
  readonly learns?: boolean
  /** How long a run of several rows may take where its size is learnt. Default: any time. */
  readonly longestRunMs?: number | undefined
  /** What another plan of the same model had learnt. */
  readonly learnt?: LearntPlan | undefined
  /** Told of each batch size that was found to pay, or not to. */
  readonly onFound?: (found: FoundSize) => void
}

/** The batch size that pays for inputs of a signature. */
export interface FoundSize {
  readonly signature: string
  /** 1: batches do not pay. */
  readonly bestRows: number
  /** How many times as many rows they give in the time of single ones. */
  readonly gain: number
}

/** How large the batches of a model are to be, and what they will cost. */
export class BatchPlan {
  readonly #maxBatchSize: number
  readonly #learns: boolean
  readonly #longestRunMs: number | undefined
  readonly #curves = new LRUCache<string, CostCurve>({ max: mostCurves })
  readonly #onFound: ((found: FoundSize) => void) | undefined
  /** What was told last. */
  readonly #found = new WeakMap<CostCurve, number>()
  #isHeld = false

  constructor(options: BatchPlanOptions = {}) {
    const { maxBatchSize = 1, learns = false, longestRunMs, learnt = {}, onFound } = options
    this.#onFound = onFound
    this.#maxBatchSize = maxBatchSize
    this.#learns = learns
    this.#longestRunMs = longestRunMs
    for (const [signature, costs] of Object.entries(learnt)) {
      this.#curves.set(signature, new CostCurve(maxBatchSize, costs, longestRunMs))
    }
  }

  /** Whether requests may ever share a run: then those that differ must be kept apart from the start. */
  get mayBatch(): boolean {
    return this.#maxBatchSize > 1
  }

  /** The most rows of any run, above which requests are split; 1: none is split. */
  get maxRows(): number {
    return this.#isHeld ? 1 : this.#maxBatchSize
  }

  /** Keeps requests apart until {@link release}. */
  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
  }

  /** The most rows that requests of a signature should be joined to now. */
  capRows(signature: string): number {
    if (!this.#learns || this.maxRows === 1) return this.maxRows
    return this.#curve(signature).capRows
  }

  /** The most rows of a part of a request that is split: as many as a run may have by its time. */
  partRows(signature: string): number {
    if (!this.#learns || this.#longestRunMs === undefined) return this.maxRows
    return Math.min(this.maxRows, this.#curves.get(signature)?.mostRows ?? this.maxRows)
  }

  /** What a run will cost, in milliseconds; undefined while nothing is known. */
  estimateMs(signature: string, rows: number): number | undefined {
    return this.#curves.get(signature)?.estimateMs(rows)
  }

  observe(signature: string, rows: number, computeMs: number): void {
    const curve = this.#curve(signature)
    curve.observe(rows, computeMs)
    if (this.#onFound !== undefined && this.#learns && !this.#isHeld) this.#tell(signature, curve)
  }

  #tell(signature: string, curve: CostCurve): void {
    const { isSettled, bestRows, gain } = curve
    if (!isSettled || gain === undefined || this.#found.get(curve) === bestRows) return
    this.#found.set(curve, bestRows)
    this.#onFound?.({ signature, bestRows, gain })
  }

  #curve(signature: string): CostCurve {
    let curve = this.#curves.get(signature)
    if (curve === undefined) {
      curve = new CostCurve(this.#maxBatchSize, {}, this.#longestRunMs)
      this.#curves.set(signature, curve)
    }
    return curve
  }

  /** By signature, the one that ran last first. */
  *curves(): Iterable<readonly [string, CostCurve]> {
    yield* this.#curves.entries()
  }

  /** What was learnt, to be given to another plan of the same model. */
  toJSON(): LearntPlan {
    return Object.fromEntries(
      [...this.#curves.entries()].map(([signature, curve]) => [signature, curve.toJSON()]),
    )
  }
}
