import { ServingError } from '../errors.js'
import type { ChangeAction, ChangeOrigin } from '../models/changes.js'
import { namePattern } from '../models/repository.js'
import { isPlainObject } from '../options.js'

/** A change that waits until every replica can serve its version. */
export interface PendingChange {
  readonly id: string
  /** The replica that makes it: once that is dead the change is void. */
  readonly replica: string
  readonly version: string
}

/** The last change that was decided, for the audit trails of those who follow it. */
export interface DecidedChange {
  readonly at: string
  readonly replica: string
  readonly action: ChangeAction
  readonly actor: string
  readonly reason?: string
}

export interface Quarantine {
  readonly at: string
  readonly actor: string
  readonly reason: string
}

/** What the replicas are to serve of one model. What a newer release has written beside it is kept. */
export interface DesiredModel {
  /** The generation that it was decided in: replicas apply what is newer than what they have applied. */
  readonly revision: number
  readonly current?: string
  /** Versions that were current, the present one last. */
  readonly history: readonly string[]
  /** Whether it was rolled back: then no new version takes the place of the current one by itself. */
  readonly pinned?: boolean
  /** Versions that are loaded beside the current one. */
  readonly loaded: readonly string[]
  /** Versions by label. */
  readonly labels: Readonly<Record<string, string>>
  /** By version. */
  readonly quarantined: Readonly<Record<string, Quarantine>>
  readonly rollout?: unknown
  readonly pending?: PendingChange
  readonly decided?: DecidedChange
}

/** What all replicas on a folder are to serve. */
export interface DesiredState {
  readonly format: 1
  /** Counts the changes of the file. */
  readonly generation: number
  readonly models: Readonly<Record<string, DesiredModel>>
}

/** How many switches can be undone. */
const historyLength = 16

export const nothingDesired: DesiredState = { format: 1, generation: 0, models: {} }

const nothingOfModel: DesiredModel = { revision: 0, history: [], loaded: [], labels: {}, quarantined: {} }

export function desiredOf(state: DesiredState, model: string): DesiredModel {
  return (Object.hasOwn(state.models, model) ? state.models[model] : undefined) ?? nothingOfModel
}

/** The next generation, with one model changed. */
export function withModel(state: DesiredState, model: string, desired: DesiredModel): DesiredState {
  return { ...state, generation: state.generation + 1, models: { ...state.models, [model]: desired } }
}

/** The next generation, with a decision about one model that every replica is to apply. */
export function decide(
  state: DesiredState,
  model: string,
  replica: string,
  action: ChangeAction,
  { actor = 'code', reason }: ChangeOrigin,
  change: (desired: DesiredModel) => Partial<DesiredModel>,
): DesiredState {
  const before = desiredOf(state, model)
  return withModel(state, model, {
    ...before,
    ...change(before),
    revision: state.generation + 1,
    decided: {
      at: new Date().toISOString(),
      replica,
      action,
      actor,
      ...(reason !== undefined && { reason }),
    },
  })
}

/** A model without the change that waits. */
export function withoutPending({ pending: _, ...desired }: DesiredModel): DesiredModel {
  return desired
}

/** After a switch. @param from what the replica that decides served until then */
export function switchedTo(version: string, from: string | undefined) {
  return ({ history, loaded }: DesiredModel): Partial<DesiredModel> => {
    const before = history.length === 0 && from !== undefined ? [from] : history
    const after = before.at(-1) === version ? before : [...before, version]
    return {
      current: version,
      history: after.slice(-historyLength),
      pinned: false,
      loaded: loaded.filter((name) => name !== version), // once it is replaced it goes, as ever
    }
  }
}

/** After a rollback to the version before the current one, which must still be `version`. */
export function rolledBackTo(version: string) {
  return ({ history }: DesiredModel): Partial<DesiredModel> => {
    const after = history.slice(0, -1)
    if (after.at(-1) === version) return { current: version, history: after, pinned: true }
    throw new ServingError('CONFLICT', 'another replica has switched meanwhile: look at it, and decide anew.')
  }
}

/**
 * The state that a file's text is.
 * @throws ServingError INVALID_CONFIG that says what is wrong with it
 */
export function parseDesiredState(text: string): DesiredState {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw wrong('is not JSON', error)
  }
  if (!isPlainObject(value)) throw wrong('is no object')
  const { format, generation, models } = value
  if (format !== 1) throw wrong('has a format that this release does not know')
  if (!isCount(generation)) throw wrong('has no generation')
  if (!isPlainObject(models)) throw wrong('has no models')
  for (const [name, model] of Object.entries(models)) checkModel(name, model)
  return value as unknown as DesiredState
}

function checkModel(name: string, model: unknown): void {
  const at = `models.${name.slice(0, 60)}`
  if (!isName(name) || !isPlainObject(model)) throw wrong(`has a wrong entry: ${at}`)
  const { revision, current, history, loaded, labels, quarantined, pending } = model
  const isSound =
    isCount(revision) &&
    (current === undefined || isName(current)) &&
    isNames(history) &&
    isNames(loaded) &&
    isPlainObject(labels) &&
    Object.values(labels).every(isName) &&
    isPlainObject(quarantined) &&
    Object.values(quarantined).every((each) => isPlainObject(each) && typeof each.reason === 'string') &&
    (pending === undefined || (isPlainObject(pending) && isName(pending.version)))
  if (!isSound) throw wrong(`has a wrong entry: ${at}`)
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && namePattern.test(value)
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(isName)
}

function wrong(what: string, cause?: unknown): ServingError {
  return new ServingError('INVALID_CONFIG', `the state file ${what}`, { cause })
}
