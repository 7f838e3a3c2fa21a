import { closed } from './names.js'

/**
 * The end of all waits, once the time that a close gives them is over. It lasts: what begins to wait later is cut off
 * at once.
 */
export class CutOff {
  readonly #waits = new Set<() => void>()
  #isOver = false

  get isOver(): boolean {
    return this.#isOver
  }

  now(): void {
    this.#isOver = true
    for (const end of this.#waits) end()
    this.#waits.clear()
  }

  /** @returns forgets the listener */
  onCutOff(listener: () => void): () => void {
    if (this.#isOver) listener()
    else this.#waits.add(listener)
    return () => void this.#waits.delete(listener)
  }

  /** Waits for a promise until the cut-off. @throws ServingError CLOSED; what the promise does */
  within<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const forget = this.onCutOff(() => reject(closed()))
      promise.then(resolve, reject).finally(forget)
    })
  }
}
