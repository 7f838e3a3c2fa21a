import { closed } from './names.js'

/** Changes of a model, one after another, so that a load, a switch, an unload and a close never interleave. */
export class ChangeQueue {
  #last: Promise<unknown> = Promise.resolve()
  #underWay = 0
  #isClosed = false

  /** @param onEnded told of the end of each change */
  constructor(private readonly onEnded: () => void) {}

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether a change has not ended. */
  get isBusy(): boolean {
    return this.#underWay > 0
  }

  /** Makes a change after those before it. @throws ServingError CLOSED; what the change does */
  run<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#isClosed) throw closed()
      return change()
    })
    this.#underWay++
    // The caller has the error; the next change goes on.
    this.#last = result
      .catch(() => {})
      .then(() => {
        this.#underWay--
        this.onEnded()
      })
    return result
  }

  /** Begins no further change. @returns the end of the one under way; never rejects */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#last
  }
}
