import {
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  handleWhen,
  type CircuitBreakerPolicy,
} from 'cockatiel'
import { messageOf, ServingError } from '../errors.js'
import { servingErrorOf } from './remote-error.js'
import type { CircuitOptions } from './remote-options.js'
import type { RemoteServer } from './remote-server.js'

/** One of the servers that a remote model lies on, and how far it is trusted. */
export class Endpoint {
  /** Whether it said that the model is ready, when it was last asked. */
  isHealthy = true
  readonly #circuit: CircuitBreakerPolicy
  #closedAgainAt = 0

  /**
   * @param label `model@version`, for messages
   * @param url for the log
   * @param onChange told, for people, that it is left alone, or asked again
   */
  constructor(
    private readonly label: string,
    readonly url: string,
    readonly server: RemoteServer,
    { failures = 5, openMs = 10_000 }: CircuitOptions,
    onChange: (message: string) => void,
  ) {
    this.#circuit = circuitBreaker(
      handleWhen((error) => this.#isFailure(error)),
      { halfOpenAfter: openMs, breaker: new ConsecutiveBreaker(failures) },
    )
    this.#circuit.onBreak((failure) => {
      this.#closedAgainAt = Date.now() + openMs
      const reason = 'error' in failure ? reasonOf(failure.error) : ''
      onChange(`${url} is left alone for ${openMs} ms: ${reason}`)
    })
    this.#circuit.onReset(() => onChange(`${url} answers again`))
  }

  /** Milliseconds until it may be asked: 0 now. While one call finds out whether it answers again, no other may. */
  get waitMs(): number {
    switch (this.#circuit.state) {
      case CircuitState.Closed:
        return 0
      case CircuitState.Open:
        return Math.max(0, this.#closedAgainAt - Date.now())
      default:
        return Infinity
    }
  }

  /** @throws ServingError */
  call<T>(run: (server: RemoteServer) => Promise<T>): Promise<T> {
    return this.#circuit.execute(async () => {
      try {
        return await run(this.server)
      } catch (error) {
        throw servingErrorOf(this.label, error)
      }
    })
  }

  /**
   * That a model fails may lie in its input, of which one caller could send as many as shut out all others. A trial that
   * nobody waits for any more has not shown that the server answers.
   */
  #isFailure(error: unknown): boolean {
    const isTrial = this.#circuit.state === CircuitState.HalfOpen
    const isDown = ServingError.is(error, 'REMOTE_UNAVAILABLE', 'RUN_TIMEOUT')
    return isDown || (isTrial && ServingError.is(error, 'ABORTED'))
  }
}

/** With the address, which the error itself keeps to its cause. */
function reasonOf(error: Error): string {
  return messageOf(error.cause ?? error)
}
