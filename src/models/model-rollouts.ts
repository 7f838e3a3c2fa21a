import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { RolloutEvent, RolloutStatus } from '../rollout/rollout-host.js'
import type { RolloutOptions } from '../rollout/rollout-options.js'
import { Rollouts } from '../rollout/rollouts.js'
import type { Outcomes } from './outcomes.js'
import type { TrafficControl } from './traffic-control.js'
import type { VersionChanges } from './version-changes.js'

/** What rollouts work with. */
export interface RolloutTools {
  readonly traffic: TrafficControl
  readonly versions: VersionChanges
  readonly outcomes: Outcomes
}

export interface ModelRolloutsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (model: string, event: RolloutEvent) => void
}

/** The share of the stable version's requests that are copied to the new one, where both are to agree. */
const comparedFraction = 0.25

/** What a rollout counts as a failure; it does not ask which. */
const failed = new ServingError('INFERENCE_FAILED', 'the request failed')

/** Who makes the changes that a rollout consists of. */
export const byRollout = { actor: 'rollout' }

/** Rollouts over the canary and the shadow of a process's models, fed by what becomes of their requests. */
export class ModelRollouts {
  readonly #tools: RolloutTools
  readonly #logger: Logger
  readonly #rollouts: Rollouts
  /** Of the rollouts under way: ends what listens, and whether the shadow is theirs. */
  readonly #watching = new Map<string, { readonly unlisten: () => void; readonly hasShadow: boolean }>()

  constructor(tools: RolloutTools, { clock, logger, onEvent }: ModelRolloutsOptions) {
    const { traffic, versions } = tools
    this.#tools = tools
    this.#logger = logger
    this.#rollouts = new Rollouts({
      clock,
      logger,
      onEvent: (model, event) => {
        if (isEnd(event)) this.#end(model)
        onEvent(model, event)
      },
      traffic: {
        canary: (model, options) => this.#try(model, traffic.canary(model, options, byRollout)),
        endCanary: (model) => this.#try(model, traffic.endCanary(model, byRollout)),
        switchVersion: (model, version) => versions.switchVersion(model, version, byRollout),
        quarantine: (model, version, reason) =>
          this.#try(model, traffic.quarantine(model, version, reason, byRollout)),
      },
    })
  }

  /**
   * @param isShadowed whether the version is the model's shadow already, whose comparisons count then
   * @throws ServingError as {@link Rollouts.start}
   */
  start(model: string, stable: string, options: RolloutOptions, isShadowed: boolean): RolloutStatus {
    const status = this.#rollouts.start(model, stable, options)
    const { version, guards } = options
    const hasShadow = guards?.agreement !== undefined && !isShadowed
    const unlisten = this.#tools.outcomes.listen(model, {
      answered: (outcome) => {
        if (outcome.isCached) return
        const error = outcome.status === 'error' ? failed : undefined
        this.#rollouts.observe(model, outcome.version, outcome.latencyMs, error)
      },
      compared: (comparison) => this.#rollouts.compared(model, comparison.version, comparison.agree),
    })
    this.#watching.set(model, { unlisten, hasShadow })
    if (hasShadow) {
      const shadow = { version, fraction: comparedFraction }
      this.#try(model, this.#tools.traffic.shadow(model, shadow, byRollout))
    }
    return status
  }

  of(model: string): RolloutStatus | undefined {
    return this.#rollouts.of(model)
  }

  /** Whether a rollout has the canary and the shadow of a model. */
  isUnderWay(model: string): boolean {
    return this.#watching.has(model)
  }

  /** @throws ServingError CONFLICT where none is under way */
  abort(model: string, reason?: string): RolloutStatus {
    return this.#rollouts.abort(model, reason)
  }

  /** Ends a rollout that can't go on, where there is one. */
  interrupt(model: string, reason: string): void {
    const phase = this.#rollouts.of(model)?.phase
    if (phase === 'running' || phase === 'paused') this.#rollouts.abort(model, reason)
  }

  /** Another version became the one that serves. */
  switched(model: string, current: string): void {
    this.#rollouts.switched(model, current)
  }

  close(): void {
    for (const { unlisten } of this.#watching.values()) unlisten()
    this.#watching.clear()
    this.#rollouts.close()
  }

  #end(model: string): void {
    const { unlisten, hasShadow } = this.#watching.get(model) ?? {}
    this.#watching.delete(model)
    unlisten?.()
    if (hasShadow === true) this.#try(model, this.#tools.traffic.endShadow(model, byRollout))
  }

  /** What can't be done to the traffic ends the rollout, if it is still under way. */
  #try(model: string, change: Promise<unknown>): void {
    change.catch((error: unknown) => {
      const { message } = asServingError(error)
      this.#logger.error({ err: error, model }, `the rollout of ${model} can't go on: ${message}`)
      this.interrupt(model, message)
    })
  }
}

function isEnd({ event }: RolloutEvent): boolean {
  return event !== 'step' && event !== 'resumed' && event !== 'paused' && event !== 'promoting'
}
