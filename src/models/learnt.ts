import type { LearntPlan } from '../batching/batch-plan.js'
import type { LearnedLayout, MeasuredLayout } from '../execution/layout.js'
import { fields, integer, oneOf, provided, record, type Field, type Fields } from '../options.js'

/** What was learnt of one artifact. */
export interface LearntModel {
  /** Milliseconds that a row costs, by the signature of the inputs and the rows of a run. */
  readonly costs?: LearntPlan
  /** Where it serves best. */
  readonly layout?: LearnedLayout
}

/** What was learnt of artifacts, by the SHA-256 of their files; plain JSON. */
export type Learnt = Readonly<Record<string, LearntModel>>

/** Artifacts that are remembered, those that were learnt of last. */
const mostArtifacts = 1000

const positive: Field<number> = provided(
  'a number above 0',
  (value) => typeof value === 'number' && value > 0 && Number.isFinite(value),
)

const layoutFields = {
  placement: oneOf('thread', 'process', 'inline'),
  instances: integer(1),
  intraOpThreads: integer(1),
}

const measuredFields: Fields<MeasuredLayout> = { ...layoutFields, rowsPerMs: positive }

const learnedLayoutFields: Fields<LearnedLayout> = {
  cores: integer(1),
  layout: fields(layoutFields, ['placement', 'instances', 'intraOpThreads']),
  measured: {
    expected: 'a list of layouts',
    accepts: (value): value is readonly MeasuredLayout[] => Array.isArray(value),
    inside: (value, path, code) => {
      const each = fields(measuredFields, ['placement', 'instances', 'intraOpThreads', 'rowsPerMs'])
      for (const [i, layout] of value.entries()) record(each).inside?.({ [i]: layout }, path, code)
    },
  },
}

const learntModelFields: Fields<LearntModel> = {
  costs: record(record(positive)),
  layout: fields(learnedLayoutFields, ['cores', 'layout', 'measured']),
}

export const learntOption: Field<Learnt> = record(fields(learntModelFields))

/** What is known of artifacts: from before, and what versions of this process learn. */
export class LearntStore {
  readonly #models: Map<string, LearntModel>

  constructor(learnt: Learnt = {}) {
    this.#models = new Map(Object.entries(learnt))
  }

  of(sha256: string): LearntModel {
    return this.#models.get(sha256) ?? {}
  }

  /** Where artifacts serve best, as far as that was learnt. */
  layouts(): ReadonlyMap<string, LearnedLayout> {
    const layouts = new Map<string, LearnedLayout>()
    for (const [sha256, { layout }] of this.#models) if (layout !== undefined) layouts.set(sha256, layout)
    return layouts
  }

  put(sha256: string, learnt: LearntModel): void {
    const known = this.of(sha256)
    this.#models.delete(sha256)
    this.#models.set(sha256, { ...known, ...learnt })
    for (const oldest of this.#models.keys()) {
      if (this.#models.size <= mostArtifacts) return
      this.#models.delete(oldest)
    }
  }

  toJSON(): Learnt {
    return Object.fromEntries(this.#models)
  }
}
