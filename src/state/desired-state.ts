import { ServingError } from '../errors.js'
import type { CanaryOptions } from '../models/canary.js'
import type { ChangeAction, ChangeOrigin } from '../models/changes.js'
import { namePattern } from '../models/repository.js'
import { isPlainObject } from '../options.js'
import { isDesiredRollout, type DesiredRollout } from './desired-rollout.js'

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
  /** The revision that it changed: who has applied that sees this change alone. */
  readonly upon: number
  readonly replica: string
  readonly action: ChangeAction
  readonly actor: string
  readonly reason?: string
}

/** Why a version must not serve. */
export interface QuarantineEntry {
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
  /** Versions by label; null for a label that was removed, whatever configuration says of it. */
  readonly labels: Readonly<Record<string, string | null>>
  /** By version. */
  readonly quarantined: Readonly<Record<string, QuarantineEntry>>
  /** The version that has a share of the requests. */
  readonly canary?: CanaryOptions | undefined
  /** The rollout under way, or the last one that there was. */
  readonly rollout?: DesiredRollout
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

export const nothingDesired: DesiredState = { format: 1, generation: 0, models: {} }

export const nothingOfModel: DesiredModel = {
  revision: 0,
  history: [],
  loaded: [],
  labels: {},
  quarantined: {},
}

export function desiredOf(state: DesiredState, model: string): DesiredModel {
  return (Object.hasOwn(state.models, model) ? state.models[model] : undefined) ?? nothingOfModel
}

/** The next generation, with one model changed. */
export function withModel(state: DesiredState, model: string, desired: DesiredModel): DesiredState {
  return { ...state, generation: state.generation + 1, models: { ...state.models, [model]: desired } }
}

/** What a decision changes of what is desired of a model: undefined where all is so already, or a refusal is thrown. */
export type Decision = (desired: DesiredModel) => Partial<DesiredModel> | undefined

/** The next generation, with a decision about one model that every replica is to apply; the same where there is none. */
export function decide(
  state: DesiredState,
  model: string,
  replica: string,
  action: ChangeAction,
  { actor = 'code', reason }: ChangeOrigin,
  decision: Decision,
): DesiredState {
  const before = desiredOf(state, model)
  const changed = decision(before)
  if (changed === undefined) return state
  return withModel(state, model, {
    ...before,
    ...changed,
    revision: state.generation + 1,
    decided: {
      at: new Date().toISOString(),
      upon: before.revision,
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
  const { revision, current, history, loaded, labels, quarantined, canary, rollout, pending } = model
  const isSound =
    isCount(revision) &&
    (current === undefined || isName(current)) &&
    isNames(history) &&
    isNames(loaded) &&
    isPlainObject(labels) &&
    isNames(Object.keys(labels)) &&
    Object.values(labels).every((version) => version === null || isName(version)) &&
    isPlainObject(quarantined) &&
    Object.values(quarantined).every((entry) => isPlainObject(entry) && typeof entry.reason === 'string') &&
    (canary === undefined || isCanary(canary)) &&
    (rollout === undefined || isDesiredRollout(rollout)) &&
    (pending === undefined || (isPlainObject(pending) && isName(pending.version)))
  if (!isSound) throw wrong(`has a wrong entry: ${at}`)
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && namePattern.test(value)
}

function isCanary(value: unknown): boolean {
  if (!isPlainObject(value)) return false
  const { version, percent } = value
  return isName(version) && typeof percent === 'number' && percent >= 0 && percent <= 100
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(isName)
}

function wrong(what: string, cause?: unknown): ServingError {
  return new ServingError('INVALID_CONFIG', `the state file ${what}`, { cause })
}
