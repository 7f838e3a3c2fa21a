import { setImmediate } from 'node:timers/promises'

/** As long as work may go on without a turn of the event loop. */
const longestMs = 5

/** Gives the event loop its turns amid work that need not wait for anything, and would hold up everybody else. */
export class Turns {
  #since = performance.now()

  async take(): Promise<void> {
    if (performance.now() - this.#since < longestMs) return
    await setImmediate()
    this.#since = performance.now()
  }
}
