import { ServingError } from '../errors.js'
import type { CanaryOptions } from '../models/canary.js'
import type { Decision, DesiredModel, QuarantineEntry } from './desired-state.js'

/** How many switches can be undone. */
const historyLength = 16

/** After a switch. @param from what the replica that decides served until then */
export function switchedTo(version: string, from: string | undefined): Decision {
  return ({ history, loaded, canary }) => {
    const before = history.length === 0 && from !== undefined ? [from] : history
    const after = before.at(-1) === version ? before : [...before, version]
    return {
      ...(canary?.version === version && { canary: undefined }), // it has all of the requests
      current: version,
      history: after.slice(-historyLength),
      pinned: false,
      loaded: loaded.filter((name) => name !== version), // once it is replaced it goes, as ever
    }
  }
}

/** What served before the current version, and may again. */
export function previousOf({ history, quarantined }: DesiredModel): string | undefined {
  return history.slice(0, -1).findLast((version) => !Object.hasOwn(quarantined, version))
}

/** After a rollback to the version before the current one, which must still be `version`. */
export function rolledBackTo(version: string): Decision {
  return (desired) => {
    if (previousOf(desired) === version) return backAt(version, desired, desired.history.slice(0, -1))
    throw new ServingError('CONFLICT', 'another replica has switched meanwhile: look at it, and decide anew.')
  }
}

/** Pinned: no new version takes its place by itself. */
function backAt(
  version: string,
  { canary }: DesiredModel,
  history: readonly string[],
): Partial<DesiredModel> {
  const after = history.slice(0, history.lastIndexOf(version) + 1)
  return {
    ...(canary?.version === version && { canary: undefined }),
    current: version,
    history: after.length === 0 ? [version] : after,
    pinned: true,
  }
}

/** After a label was given to a version. @throws ServingError CONFLICT for one in quarantine */
export function labelled(model: string, label: string, version: string): Decision {
  return (desired) => {
    refuseQuarantined(desired, model, version)
    return { labels: { ...desired.labels, [label]: version } }
  }
}

/** After a label was taken away, also one that only configuration knows. */
export function unlabelled(label: string): Decision {
  return ({ labels }) => ({ labels: { ...labels, [label]: null } })
}

/**
 * After a version was given a share of the requests.
 * @param serving the version that has the rest, here
 * @throws ServingError CONFLICT for one in quarantine
 */
export function canaryStarted(
  model: string,
  { version, percent }: CanaryOptions,
  serving: string | undefined,
): Decision {
  return (desired) => {
    refuseQuarantined(desired, model, version)
    return { ...stays(desired, serving), canary: { version, percent } }
  }
}

export function canaryEnded({ canary }: DesiredModel): Partial<DesiredModel> | undefined {
  return canary === undefined ? undefined : { canary: undefined }
}

/**
 * What serves beside a canary is decided with it, where it was not: a replica that starts meanwhile would else take the
 * highest version, which mostly is the canary.
 */
export function stays(
  { current, history }: DesiredModel,
  serving: string | undefined,
): Partial<DesiredModel> {
  return current !== undefined || serving === undefined
    ? {}
    : { current: serving, history: [...history, serving] }
}

/** What the replica that puts a version in quarantine has. */
export interface Served {
  /** The version that serves. */
  readonly current: { readonly name: string } | undefined
  /** The one before it that may serve again. */
  readonly previous: string | undefined
}

/**
 * What serves instead of a version that must not any more; undefined where it does not.
 * @throws ServingError CONFLICT where it serves, and there is nothing to go back to
 */
export function insteadOf(
  { current, history, quarantined }: DesiredModel,
  version: string,
  here: Served,
): string | undefined {
  if (current !== version && here.current?.name !== version) return undefined
  const earlier = history.findLast((name) => name !== version && !Object.hasOwn(quarantined, name))
  const found = earlier ?? here.previous
  if (found !== undefined) return found
  throw new ServingError(
    'CONFLICT',
    `version ${version} serves, and there is none before it to go back to: switch to another first.`,
  )
}

/**
 * After a version was put in quarantine: where it serves, what served before does again.
 * @throws ServingError CONFLICT as {@link insteadOf}
 */
export function quarantined(version: string, entry: QuarantineEntry, here: Served): Decision {
  return (desired) => {
    const instead = insteadOf(desired, version, here)
    return {
      quarantined: { ...desired.quarantined, [version]: entry },
      ...(desired.canary?.version === version && { canary: undefined }),
      ...(instead !== undefined && backAt(instead, desired, desired.history)),
    }
  }
}

/** After a version was let out of quarantine. */
export function released(version: string): Decision {
  return ({ quarantined }) => {
    if (!Object.hasOwn(quarantined, version)) return undefined
    const { [version]: _, ...others } = quarantined
    return { quarantined: others }
  }
}

/** @throws ServingError CONFLICT for a version in quarantine */
export function refuseQuarantined({ quarantined }: DesiredModel, model: string, version: string): void {
  const found = Object.hasOwn(quarantined, version) ? quarantined[version] : undefined
  if (found === undefined) return
  throw new ServingError('CONFLICT', `${model}@${version} is in quarantine: ${found.reason}`)
}
