import type { Priority } from './waiting.js'

/** Who is told of a change. */
export interface DemandListener {
  /** The priority has risen. */
  raised?(): void
  /** Nobody wants the answer any more. */
  abandoned?(): void
}

/**
 * How much a computation is wanted that several requests may wait for: as urgently as by the most urgent of them, and
 * until the last has given up. In the place of an AbortSignal, which alone costs as much as a request's way to its session.
 */
export class Demand {
  #priority: Priority
  #isWanted = true
  readonly #listeners: DemandListener[] = []
  #controller: AbortController | undefined

  constructor(priority: Priority) {
    this.#priority = priority
  }

  get priority(): Priority {
    return this.#priority
  }

  /** Whether anybody waits for the answer. */
  get isWanted(): boolean {
    return this.#isWanted
  }

  raise(priority: Priority): void {
    if (priority >= this.#priority) return
    this.#priority = priority
    for (const listener of this.#listeners) listener.raised?.()
  }

  /** Aborts once nobody wants the answer; made when it is first asked for. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (!this.#isWanted) this.#controller.abort()
    return this.#controller.signal
  }

  abandon(): void {
    if (!this.#isWanted) return
    this.#isWanted = false
    this.#controller?.abort()
    for (const listener of this.#listeners) listener.abandoned?.()
  }

  listen(listener: DemandListener): void {
    this.#listeners.push(listener)
  }
}
