import { systemClock, type Clock, type Timer } from '../clock.js'
import { messageOf } from '../errors.js'
import type { Endpoint } from './endpoint.js'

/** A server that takes longer to say whether it is ready, is not. */
const checkTimeoutMs = 5000

/** What is asked of each endpoint. */
export interface CheckedModel {
  readonly model: string
  readonly version: string | undefined
}

/** Asks endpoints again and again whether a model is ready there. */
export class HealthChecks {
  readonly #closing = new AbortController()
  #timer: Timer | undefined

  /**
   * @param intervalMs between the end of a round and the next; 0: never
   * @param onChange told, for people, of each that changed
   */
  constructor(
    private readonly endpoints: readonly Endpoint[],
    private readonly target: CheckedModel,
    private readonly intervalMs: number,
    private readonly onChange: (message: string) => void,
    private readonly clock: Clock = systemClock,
  ) {
    this.#plan()
  }

  #plan(): void {
    if (this.intervalMs === 0 || this.#closing.signal.aborted) return
    const round = () =>
      void Promise.all(this.endpoints.map((each) => this.#check(each))).then(() => this.#plan())
    this.#timer = this.clock.setTimer(round, this.intervalMs, { background: true })
  }

  async #check(endpoint: Endpoint): Promise<void> {
    const { model, version } = this.target
    const { signal } = this.#closing
    let reason = 'it says that the model is not ready'
    const isReady = await endpoint.server
      .modelReady(model, { version, signal, timeoutMs: checkTimeoutMs })
      .catch((error: unknown) => {
        reason = messageOf(error)
        return false
      })
    if (signal.aborted || isReady === endpoint.isHealthy) return
    endpoint.isHealthy = isReady
    this.onChange(isReady ? `${endpoint.url} is ready again` : `${endpoint.url} comes last: ${reason}`)
  }

  close(): void {
    this.#timer?.clear()
    this.#closing.abort()
  }
}
