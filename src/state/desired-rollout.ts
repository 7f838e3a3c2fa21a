import { ServingError } from '../errors.js'
import type { CanaryOptions } from '../models/canary.js'
import { isPlainObject } from '../options.js'
import { isOver } from '../rollout/rollout-host.js'
import type { StoredRollout } from '../rollout/rollouts.js'
import { refuseQuarantined, stays } from './decisions.js'
import type { Decision, DesiredModel, QuarantineEntry } from './desired-state.js'

/** A rollout over all replicas, as its leader has kept it: another goes on from that. */
export interface DesiredRollout extends StoredRollout {
  readonly id: string
  /** The replica that judges its own traffic, and decides for all. */
  readonly leader: string
}

/** What a rollout does to the traffic of all replicas. */
export interface RolloutEffects {
  /** The share of its version from now on; null: none. */
  canary?: CanaryOptions | null
  /** Why its version must not serve. */
  quarantine?: QuarantineEntry
}

/** What it is of itself; the rest is checked by who goes on from it. */
export function isDesiredRollout(value: unknown): value is DesiredRollout {
  if (!isPlainObject(value)) return false
  const { id, leader, stable, rollout } = value
  if (![id, leader, stable].every((each) => typeof each === 'string')) return false
  return isPlainObject(rollout) && isPlainObject(rollout.plan) && typeof rollout.plan.version === 'string'
}

export function isUnderWay(rollout: DesiredRollout | undefined): rollout is DesiredRollout {
  return rollout !== undefined && !isOver(rollout.rollout.phase)
}

/** After a rollout was begun, with the share of its first step. @throws ServingError CONFLICT where one is under way */
export function begun(model: string, rollout: DesiredRollout): Decision {
  return (desired) => {
    const { rollout: found } = desired
    if (isUnderWay(found)) {
      throw new ServingError(
        'CONFLICT',
        `model "${model}" has a rollout of version ${found.rollout.plan.version} under way, ` +
          `which the replica ${found.leader} leads: abort it first.`,
      )
    }
    const { version, steps } = rollout.rollout.plan
    refuseQuarantined(desired, model, version)
    return { ...stays(desired, rollout.stable), rollout, canary: { version, percent: steps[0] ?? 100 } }
  }
}

/** After another replica took the lead, where nobody else has meanwhile. */
export function takenOver({ id, leader }: DesiredRollout, by: string): Decision {
  return ({ rollout }) =>
    isUnderWay(rollout) && rollout.id === id && rollout.leader === leader
      ? { rollout: { ...rollout, leader: by } }
      : undefined
}

/**
 * After its leader has found out more. Where it leads no longer, or others have ended the rollout, only a verdict
 * against the version counts.
 */
export function kept(own: DesiredRollout, { canary, quarantine }: RolloutEffects): Decision {
  return (desired) => {
    const { rollout: found } = desired
    const { version } = own.rollout.plan
    const marked = quarantine !== undefined && {
      quarantined: { ...desired.quarantined, [version]: quarantine },
    }
    // A state that was removed knows of none.
    const isLed =
      found === undefined || (found.id === own.id && found.leader === own.leader && isUnderWay(found))
    if (!isLed) return marked === false ? undefined : { ...marked, ...withoutCanary(desired, version) }
    return {
      ...marked,
      ...(canary === null && withoutCanary(desired, version)),
      ...(canary && { canary }),
      rollout: own,
    }
  }
}

/** After somebody has ended it. @throws ServingError CONFLICT where none is under way, or it is being promoted */
export function aborted(model: string, reason: string): Decision {
  return (desired) => {
    const { rollout: found } = desired
    if (!isUnderWay(found)) throw new ServingError('CONFLICT', `model "${model}" has no rollout under way.`)
    const { version } = found.rollout.plan
    if (found.rollout.phase === 'promoting') {
      throw new ServingError('CONFLICT', `the rollout of version ${version} is promoting.`)
    }
    return {
      ...withoutCanary(desired, version),
      rollout: { ...found, rollout: { ...found.rollout, phase: 'aborted', reason } },
    }
  }
}

function withoutCanary({ canary }: DesiredModel, version: string): Partial<DesiredModel> {
  return canary?.version === version ? { canary: undefined } : {}
}
