import type { Clock } from '../clock.js'
import { ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { Rollout } from './rollout.js'
import type { RolloutEvent, RolloutHost, RolloutStatus } from './rollout-host.js'
import type { RolloutOptions } from './rollout-options.js'
import type { RolloutState } from './rollout-state.js'

/** What rollouts ask of the models, in the words of the manager. */
export interface RolloutTraffic {
  canary(model: string, options: { readonly version: string; readonly percent: number }): void
  endCanary(model: string): void
  switchVersion(model: string, version: string): Promise<unknown>
  quarantine(model: string, version: string, reason: string): void
}

export interface RolloutsOptions {
  readonly traffic: RolloutTraffic
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (model: string, event: RolloutEvent) => void
}

interface Entry {
  readonly rollout: Rollout
  /** The version that serves while it runs. */
  readonly stable: string
}

/** A rollout as it is stored, with the version that it compares with. */
export interface StoredRollout {
  readonly stable: string
  readonly rollout: RolloutState
}

/** The rollouts of a process, one a model, and what happens to their versions: told by model and version. */
export class Rollouts {
  readonly #options: RolloutsOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: RolloutsOptions) {
    this.#options = options
  }

  /**
   * Begins a rollout; the version must be loaded.
   * @param stable the version that serves
   * @throws ServingError INVALID_OPTIONS; CONFLICT where one is under way, or the version already serves
   */
  start(model: string, stable: string, options: RolloutOptions): RolloutStatus {
    this.checkStart(model, stable, options.version)
    const rollout = Rollout.start(options, this.#host(model, options.version))
    this.#entries.set(model, { rollout, stable })
    return rollout.status
  }

  /** @throws ServingError CONFLICT where {@link start} would */
  checkStart(model: string, stable: string, version: string): void {
    const underWay = this.#underWay(model)
    if (underWay !== undefined) {
      throw new ServingError(
        'CONFLICT',
        `model "${model}" has a rollout of version ${underWay.rollout.plan.version} under way: abort it first.`,
      )
    }
    if (version === stable) {
      throw new ServingError('CONFLICT', `version ${stable} of model "${model}" already serves.`)
    }
  }

  /** The rollout under way, or the last one that there was. */
  of(model: string): RolloutStatus | undefined {
    return this.#entries.get(model)?.rollout.status
  }

  /** @throws ServingError CONFLICT where none is under way */
  abort(model: string, reason?: string): RolloutStatus {
    const found = this.#underWay(model)
    if (found === undefined) {
      throw new ServingError('CONFLICT', `model "${model}" has no rollout under way.`)
    }
    found.rollout.abort(reason)
    return found.rollout.status
  }

  /** A version computed an answer, or failed; an answer of the cache says nothing about it. Never throws. */
  observe(model: string, version: string, latencyMs: number, error?: ServingError): void {
    const entry = this.#entries.get(model)
    if (entry === undefined || (error !== undefined && !isFailure(error))) return
    const side = sideOf(entry, version)
    if (side !== undefined) entry.rollout.observe(side, { failed: error !== undefined, latencyMs })
  }

  /** The new version and the stable one were given the same input. Never throws. */
  compared(model: string, version: string, agree: boolean): void {
    const entry = this.#entries.get(model)
    if (entry?.rollout.plan.version === version) entry.rollout.compared(agree)
  }

  /** A version can't serve any more. */
  died(model: string, version: string, reason: string): void {
    const entry = this.#entries.get(model)
    const side = entry && sideOf(entry, version)
    if (side !== undefined) entry?.rollout.died(side, reason)
  }

  /** A version was put in quarantine by somebody else than its rollout. */
  quarantined(model: string, version: string, reason: string): void {
    const found = this.#underWay(model)
    if (found === undefined) return
    if (version === found.rollout.plan.version) found.rollout.quarantined(reason)
    else if (version === found.stable && found.rollout.status.phase !== 'promoting')
      found.rollout.abort(`the stable version was put in quarantine: ${reason}`)
  }

  /** A version serves again. */
  isBack(model: string, version: string): void {
    const entry = this.#entries.get(model)
    if (entry?.stable === version) entry.rollout.stableIsBack()
  }

  /** Another version became the one that serves: what a rollout compared with is gone. */
  switched(model: string, current: string): void {
    const found = this.#underWay(model)
    if (found === undefined || current === found.stable || found.rollout.status.phase === 'promoting') return
    found.rollout.abort(`version ${current} was made the one that serves`)
  }

  /** What to store of a model, for {@link resume}. */
  stored(model: string): StoredRollout | undefined {
    const entry = this.#entries.get(model)
    return entry && { stable: entry.stable, rollout: entry.rollout.toJSON() }
  }

  /**
   * Goes on from a stored rollout. Both versions must be loaded.
   * @throws ServingError INVALID_CONFIG
   */
  resume(model: string, { stable, rollout }: StoredRollout): RolloutStatus {
    this.#entries.get(model)?.rollout.close()
    const resumed = Rollout.resume(rollout, this.#host(model, rollout.plan.version))
    this.#entries.set(model, { rollout: resumed, stable })
    return resumed.status
  }

  /** Stops the rollout under way without a word, as another process goes on with it. @returns whether there was one */
  drop(model: string): boolean {
    const found = this.#underWay(model)
    if (found === undefined) return false
    found.rollout.close()
    this.#entries.delete(model)
    return true
  }

  /** Stops every timer, and watches nothing any more. */
  close(): void {
    for (const { rollout } of this.#entries.values()) rollout.close()
    this.#entries.clear()
  }

  #underWay(model: string): Entry | undefined {
    const entry = this.#entries.get(model)
    return entry?.rollout.isOver === false ? entry : undefined
  }

  #host(model: string, version: string): RolloutHost {
    const { traffic, clock, logger, onEvent } = this.#options
    return {
      clock,
      logger,
      setShare: (percent) => traffic.canary(model, { version, percent }),
      promote: async () => {
        await traffic.switchVersion(model, version)
      },
      endShare: () => traffic.endCanary(model),
      quarantine: (reason) => traffic.quarantine(model, version, reason),
      onEvent: (event) => onEvent(model, event),
    }
  }
}

function sideOf({ rollout, stable }: Entry, version: string): 'candidate' | 'stable' | undefined {
  if (version === rollout.plan.version) return 'candidate'
  return version === stable ? 'stable' : undefined
}

/** Whether an error is the version's: not the caller's, and not the end of the serving. */
function isFailure(error: ServingError): boolean {
  return error.status >= 500 && !ServingError.is(error, 'CLOSED', 'INVALID_OPTIONS', 'INVALID_CONFIG')
}
