import { LimitsWatch, type WaitLimits } from '../batching/limits-watch.js'
import type { Clock } from '../clock.js'
import type { CutOff } from './cut-off.js'
import { closed } from './names.js'

/** The waits of requests, which end where their own limits or a close end them. */
export class Waits {
  readonly #limits: LimitsWatch

  constructor(
    clock: Clock,
    private readonly cutOff: CutOff,
  ) {
    this.#limits = new LimitsWatch(clock)
  }

  /** Waits for a promise as long as the limits allow, and a close. @throws ServingError ABORTED, TIMEOUT; what the promise does */
  within<T>(limits: WaitLimits, promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // Also where nobody waits for it: else its failure would be nobody's, and end the process.
      promise.then(resolve, reject)
      const met = this.#limits.expired(limits)
      if (met !== undefined) return reject(met)
      const unwatch = this.#limits.watch(limits, reject)
      const forget = this.cutOff.onCutOff(() => reject(closed()))
      const end = () => {
        unwatch()
        forget()
      }
      promise.then(end, end)
    })
  }
}
