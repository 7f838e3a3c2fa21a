import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { isOver, type RolloutEvent, type RolloutStatus } from '../rollout/rollout-host.js'
import type { RolloutOptions } from '../rollout/rollout-options.js'
import { Rollouts, type StoredRollout } from '../rollout/rollouts.js'
import type { CanaryOptions } from './canary.js'
import type { OutcomeListener, Outcomes } from './outcomes.js'
import type { ShadowOptions } from './shadow.js'
import type { TrafficControl } from './traffic-control.js'
import type { VersionChanges } from './version-changes.js'

/** What rollouts do with models. */
export interface RolloutModels {
  canary(model: string, options: CanaryOptions): Promise<unknown>
  endCanary(model: string): Promise<unknown>
  shadow(model: string, options: ShadowOptions): Promise<unknown>
  endShadow(model: string): Promise<unknown>
  switchVersion(model: string, version: string): Promise<unknown>
  quarantine(model: string, version: string, reason: string): Promise<unknown>
  onOutcome(model: string, listener: OutcomeListener): () => void
}

export interface ModelRolloutsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (model: string, event: RolloutEvent) => void
}

/** Who makes the changes that a rollout consists of. */
export const byRollout = { actor: 'rollout' }

/** What a rollout does with the models of a process, past the refusal that keeps others from it meanwhile. */
export function rolloutActions(
  traffic: TrafficControl,
  versions: VersionChanges,
  outcomes: Outcomes,
): RolloutModels {
  return {
    canary: (model, options) => traffic.canary(model, options, byRollout),
    endCanary: (model) => traffic.endCanary(model, byRollout),
    shadow: (model, options) => traffic.shadow(model, options, byRollout),
    endShadow: (model) => traffic.endShadow(model, byRollout),
    switchVersion: (model, version) => versions.switchVersion(model, version, byRollout),
    quarantine: (model, version, reason) => traffic.quarantine(model, version, reason, byRollout),
    onOutcome: (model, listener) => outcomes.listen(model, listener),
  }
}

/** The share of the stable version's requests that are copied to the new one, where both are to agree. */
const comparedFraction = 0.25

/** What a rollout counts as a failure; it does not ask which. */
const failed = new ServingError('INFERENCE_FAILED', 'the request failed')

/** Rollouts over the canary and the shadow of a process's models, fed by what becomes of their requests. */
export class ModelRollouts {
  readonly #models: RolloutModels
  readonly #logger: Logger
  readonly #rollouts: Rollouts
  /** Of the rollouts under way: ends what listens, and whether the shadow is theirs. */
  readonly #listening = new Map<string, { readonly unlisten: () => void; readonly hasShadow: boolean }>()

  constructor(models: RolloutModels, { clock, logger, onEvent }: ModelRolloutsOptions) {
    this.#models = models
    this.#logger = logger
    this.#rollouts = new Rollouts({
      clock,
      logger,
      onEvent: (model, event) => {
        if (isOver(event.phase)) this.#end(model)
        onEvent(model, event)
      },
      traffic: {
        canary: (model, options) => this.#try(model, models.canary(model, options)),
        endCanary: (model) => this.#try(model, models.endCanary(model)),
        switchVersion: (model, version) => models.switchVersion(model, version),
        quarantine: (model, version, reason) => this.#try(model, models.quarantine(model, version, reason)),
      },
    })
  }

  /**
   * @param isShadowed whether the version is the model's shadow already, whose comparisons count then
   * @throws ServingError as {@link Rollouts.start}
   */
  start(model: string, stable: string, options: RolloutOptions, isShadowed: boolean): RolloutStatus {
    const status = this.#rollouts.start(model, stable, options)
    this.#listen(model, options, isShadowed)
    return status
  }

  /** @throws ServingError CONFLICT where {@link start} would */
  checkStart(model: string, stable: string, version: string): void {
    this.#rollouts.checkStart(model, stable, version)
  }

  /** Goes on from what was {@link stored}, by whichever process; both versions must be loaded. */
  resume(model: string, stored: StoredRollout): void {
    this.#listening.get(model)?.unlisten()
    const { phase } = this.#rollouts.resume(model, stored)
    if (!isOver(phase)) this.#listen(model, stored.rollout.plan, false)
  }

  #listen(model: string, { version, guards }: RolloutOptions, isShadowed: boolean): void {
    const hasShadow = guards?.agreement !== undefined && !isShadowed
    const unlisten = this.#models.onOutcome(model, {
      answered: (outcome) => {
        if (outcome.isCached) return
        const error = outcome.status === 'error' ? failed : undefined
        this.#rollouts.observe(model, outcome.version, outcome.latencyMs, error)
      },
      compared: (comparison) => this.#rollouts.compared(model, comparison.version, comparison.agree),
    })
    this.#listening.set(model, { unlisten, hasShadow })
    if (hasShadow) this.#try(model, this.#models.shadow(model, { version, fraction: comparedFraction }))
  }

  of(model: string): RolloutStatus | undefined {
    return this.#rollouts.of(model)
  }

  /** @throws ServingError CONFLICT where none is under way */
  abort(model: string, reason?: string): RolloutStatus {
    return this.#rollouts.abort(model, reason)
  }

  /** Ends the one under way, where it can still be ended. */
  end(model: string, reason?: string): void {
    const phase = this.#rollouts.of(model)?.phase
    if (phase === 'running' || phase === 'paused') this.#rollouts.abort(model, reason)
  }

  stored(model: string): StoredRollout | undefined {
    return this.#rollouts.stored(model)
  }

  /** Another process goes on with the one under way. @returns whether there was one */
  drop(model: string): boolean {
    const isDropped = this.#rollouts.drop(model)
    if (isDropped) this.#end(model)
    return isDropped
  }

  quarantined(model: string, version: string, reason: string): void {
    this.#rollouts.quarantined(model, version, reason)
  }

  died(model: string, version: string, reason: string): void {
    this.#rollouts.died(model, version, reason)
  }

  isBack(model: string, version: string): void {
    this.#rollouts.isBack(model, version)
  }

  /** Another version became the one that serves. */
  switched(model: string, current: string): void {
    this.#rollouts.switched(model, current)
  }

  close(): void {
    for (const { unlisten } of this.#listening.values()) unlisten()
    this.#listening.clear()
    this.#rollouts.close()
  }

  #end(model: string): void {
    const { unlisten, hasShadow } = this.#listening.get(model) ?? {}
    this.#listening.delete(model)
    unlisten?.()
    if (hasShadow === true) this.#try(model, this.#models.endShadow(model))
  }

  /** What can't be done to the traffic ends the rollout, if it is still under way. */
  #try(model: string, change: Promise<unknown>): void {
    change.catch((error: unknown) => {
      const { message } = asServingError(error)
      this.#logger.error({ err: error, model }, `the rollout of ${model} can't go on: ${message}`)
      this.end(model, message)
    })
  }
}
