import { setTimeout as wait } from 'node:timers/promises'
import { isWorthRetrying, retryDelayMs } from '../client/retry.js'
import { ServingError } from '../errors.js'
import type { Endpoint } from './endpoint.js'
import { isServersFault } from './remote-error.js'
import type { RemoteServer } from './remote-server.js'

/** The longest wait between attempts, in milliseconds: a server that asks for more is busy for this call. */
const longestWaitMs = 5000

/**
 * Calls a model at the first of its endpoints that can be had: those that are healthy before the others, each in the order
 * that was given. A failure that is the server's goes on to the next; once all were asked, and where it may pass, to the first
 * again after a wait.
 */
export class Failover {
  /**
   * @param label `model@version`, for messages
   * @param retries the most attempts after the first
   */
  constructor(
    private readonly label: string,
    private readonly endpoints: readonly Endpoint[],
    private readonly retries: number,
  ) {}

  /** @throws ServingError REMOTE_UNAVAILABLE, RUN_TIMEOUT, INFERENCE_FAILED, INVALID_INPUT, ABORTED */
  async call<T>(signal: AbortSignal, run: (server: RemoteServer) => Promise<T>): Promise<T> {
    const asked = new Set<Endpoint>()
    let rounds = 0
    for (let attempt = 0; ; attempt++) {
      const endpoint = this.#next(asked)
      if (endpoint === undefined) throw this.#noneLeft()
      try {
        return await endpoint.call(run)
      } catch (error) {
        if (!isServersFault(error) || attempt >= this.retries || signal.aborted) throw error
        asked.add(endpoint)
        if (this.#next(asked) !== undefined) continue
        asked.clear()
        await this.#pause(rounds++, error, signal)
      }
    }
  }

  #next(asked: ReadonlySet<Endpoint>): Endpoint | undefined {
    const open = this.endpoints.filter((endpoint) => endpoint.waitMs === 0 && !asked.has(endpoint))
    return open.find(({ isHealthy }) => isHealthy) ?? open[0]
  }

  /** Waits before those that were asked are asked again. @throws the error where that is no use, or would take too long */
  async #pause(rounds: number, error: ServingError, signal: AbortSignal): Promise<void> {
    const delayMs = retryDelayMs(rounds, error.cause)
    const isOpen = this.endpoints.some(({ waitMs }) => waitMs === 0)
    if (!isWorthRetrying(error.cause) || delayMs > longestWaitMs || !isOpen) throw error
    await wait(delayMs, undefined, { signal }).catch(() => {
      throw error
    })
  }

  #noneLeft(): ServingError {
    const soonestMs = Math.min(...this.endpoints.map(({ waitMs }) => waitMs))
    const seconds = Number.isFinite(soonestMs) ? Math.max(1, Math.ceil(soonestMs / 1000)) : 1
    return new ServingError(
      'REMOTE_UNAVAILABLE',
      `${this.label}: every remote server failed lately, and is left alone for now.`,
      { headers: { 'retry-after': String(seconds) } },
    )
  }
}
