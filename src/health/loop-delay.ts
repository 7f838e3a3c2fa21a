import { type Clock, systemClock } from '../clock.js'
import { ServingError } from '../errors.js'

/** How often it looks. */
const intervalMs = 100

/**
 * Watches how far the event loop is behind while there is something to do, and refuses more where that is too far: then
 * it is the handling of requests that the process has no time for, which no queue before a model can see.
 *
 * One late timer says nothing, since any work of the host's may hold one up; two in a row do.
 */
export class LoopDelay {
  readonly #maxDelayMs: number
  readonly #clock: Clock
  #isWatching = false
  #isUsed = false
  #previousMs = 0
  #refusal: ServingError | undefined

  /** @param maxDelayMs 0: it refuses nothing */
  constructor(maxDelayMs: number, clock: Clock = systemClock) {
    this.#maxDelayMs = maxDelayMs
    this.#clock = clock
  }

  /** Why a request should be refused now. */
  get refusal(): ServingError | undefined {
    return this.#refusal
  }

  /** There is something to do: it watches until there was nothing for a while. */
  used(): void {
    this.#isUsed = true
    if (this.#isWatching || this.#maxDelayMs === 0) return
    this.#isWatching = true
    this.#previousMs = 0
    this.#look()
  }

  #look(): void {
    const due = this.#clock.now() + intervalMs
    const look = () => {
      const delayMs = Math.max(0, this.#clock.now() - due)
      this.#judge(Math.min(delayMs, this.#previousMs))
      this.#previousMs = delayMs
      // While it refuses there may be nothing to do for that very reason.
      this.#isWatching = this.#isUsed || this.#refusal !== undefined
      this.#isUsed = false
      if (this.#isWatching) this.#look()
    }
    this.#clock.setTimer(look, intervalMs, { background: true })
  }

  #judge(delayMs: number): void {
    if (delayMs <= this.#maxDelayMs) return void (this.#refusal = undefined)
    this.#refusal = new ServingError(
      'OVERLOADED',
      `the event loop is ${Math.round(delayMs)} ms behind, and at most ${this.#maxDelayMs} ms are accepted.`,
      { headers: { 'retry-after': `${Math.ceil(delayMs / 1000)}` } },
    )
  }
}
