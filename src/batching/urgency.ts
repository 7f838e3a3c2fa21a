import type { Priority } from './waiting.js'

/**
 * How urgent a computation is that several requests wait for: as the most urgent of them. Whoever queues it is told
 * when that rises.
 */
export class Urgency {
  #priority: Priority
  readonly #listeners: (() => void)[] = []

  constructor(priority: Priority) {
    this.#priority = priority
  }

  get priority(): Priority {
    return this.#priority
  }

  raise(priority: Priority): void {
    if (priority >= this.#priority) return
    this.#priority = priority
    for (const listener of this.#listeners) listener()
  }

  /** Calls `listener` whenever the priority rises. */
  onRaised(listener: () => void): void {
    this.#listeners.push(listener)
  }
}
