import { ServingError } from '../../src/errors.js'
import {
  NotBegun,
  type ModelSignature,
  type Place,
  type RunResult,
  type Session,
} from '../../src/execution/session.js'
import type { Feeds } from '../../src/tensor/tensor.js'

interface Held {
  readonly feeds: Feeds
  readonly resolve: (result: RunResult) => void
  readonly reject: (error: Error) => void
}

/** A session whose costs, answers and death are the test's to say. Its runs give their own feeds back. */
export class FakeSession implements Session {
  readonly signature: ModelSignature = {
    inputs: [{ name: 'x', dtype: 'float32', shape: ['batch', 3] }],
    outputs: [],
    classes: {},
  }
  readonly slots: number
  readonly width: number
  readonly providers = ['cpu'] as const
  readonly warnings = []
  readonly inspection = undefined
  readonly died: Promise<ServingError>
  readonly instances: number
  /** What a run costs, by its rows. */
  costMs: (rows: number) => number = () => 1
  /** Whether runs wait for {@link answer}. */
  held: boolean = false
  closed = false
  runs = 0
  readonly #held: Held[] = []
  #death: ServingError | undefined
  #die: (reason: ServingError) => void = () => {}

  constructor(
    readonly placement: Place = 'thread',
    costMs?: (rows: number) => number,
    instances: number = 1,
  ) {
    this.instances = instances
    this.slots = placement === 'thread' ? 2 * instances : 1
    this.width = placement === 'thread' ? 1 : 0
    if (costMs !== undefined) this.costMs = costMs
    this.died = new Promise((resolve) => (this.#die = resolve))
  }

  get waiting(): number {
    return this.#held.length
  }

  run(feeds: Feeds): Promise<RunResult> {
    if (this.closed) return Promise.reject(new ServingError('CLOSED', 'closed'))
    if (this.#death !== undefined) return Promise.reject(this.#death)
    this.runs++
    return new Promise((resolve, reject) => {
      this.#held.push({ feeds, resolve, reject })
      if (!this.held) this.answer()
    })
  }

  /** Answers the runs that wait, or the first of them. */
  answer(count = Infinity): void {
    for (const { feeds, resolve } of this.#held.splice(0, count)) {
      resolve({ outputs: feeds, computeMs: this.costMs(feeds.x?.shape[0] ?? 1) })
    }
  }

  die(): void {
    this.#death = new ServingError('WORKER_DIED', 'it died')
    for (const { reject } of this.#held.splice(0)) reject(this.#death)
    this.#die(this.#death)
  }

  /** Dies in the first of the runs it has, and before it came to the others. */
  dieAtWork(): void {
    for (const { reject } of this.#held.splice(1)) reject(new NotBegun('it died', true))
    this.die()
  }

  async close(): Promise<void> {
    while (this.#held.length > 0) await new Promise((resolve) => setImmediate(resolve))
    this.closed = true
  }
}

/** Lets everything that has settled be noticed. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
