import { checkFields, fields, flag, integer, oneOf, provided, record, text, type Fields } from '../options.js'
import type { Comparisons } from './evidence.js'
import type { GuardState } from './guard.js'
import type { RolloutPhase } from './rollout-host.js'
import { rolloutFields, type RolloutPlan } from './rollout-options.js'
import { Sample, type SampleState } from './sample.js'
import type { LooksState } from './sequential-test.js'

/** A rollout as plain JSON: another process, or the same after a restart, goes on from it. */
export interface RolloutState {
  /** Of this form; another number is refused. */
  readonly format: 1
  readonly plan: RolloutPlan
  readonly phase: RolloutPhase
  readonly reason?: string
  /** From 0. */
  readonly step: number
  /** How long the step has lasted, without the time in which nobody ran it. */
  readonly elapsedMs: number
  readonly candidate: SampleState
  readonly stable: SampleState
  readonly comparisons: Comparisons
  /** By name. */
  readonly guards: Readonly<Record<string, GuardState>>
}

/** That of a rollout which has yet to begin. */
export function freshState(plan: RolloutPlan): RolloutState {
  const nothing = new Sample().toJSON()
  return {
    format: 1,
    plan,
    phase: 'running',
    step: 0,
    elapsedMs: 0,
    candidate: nothing,
    stable: nothing,
    comparisons: { disagreements: 0, comparisons: 0 },
    guards: {},
  }
}

const looksFields: Fields<LooksState> = { taken: integer(0), next: integer(1) }

const sampleFields: Fields<SampleState> = {
  requests: integer(0),
  failures: integer(0),
  latencies: provided(
    'a list of buckets and counts',
    (value) =>
      Array.isArray(value) && value.every((each) => Array.isArray(each) && each.every(Number.isInteger)),
  ),
}

const stateFields: Fields<RolloutState> = {
  format: provided('1, the form that this release knows', (value) => value === 1),
  plan: fields(rolloutFields) as unknown as Fields<RolloutState>['plan'],
  phase: oneOf('running', 'paused', 'promoting', 'promoted', 'rolled-back', 'expired', 'aborted', 'failed'),
  reason: text,
  step: integer(0),
  elapsedMs: provided('a number of at least 0', (value) => typeof value === 'number' && value >= 0),
  candidate: fields(sampleFields, ['requests', 'failures', 'latencies']),
  stable: fields(sampleFields, ['requests', 'failures', 'latencies']),
  comparisons: fields<Comparisons>({ disagreements: integer(0), comparisons: integer(0) }, [
    'disagreements',
    'comparisons',
  ]),
  guards: record(
    fields<GuardState>(
      {
        breach: fields(looksFields, ['taken', 'next']),
        pass: fields(looksFields, ['taken', 'next']),
        passed: flag,
      },
      ['breach', 'pass', 'passed'],
    ),
  ),
}

const required = Object.keys(stateFields).filter((name) => name !== 'reason') as (keyof RolloutState)[]

/**
 * Checks what was read back.
 * @throws ServingError INVALID_CONFIG
 */
export function checkRolloutState(value: unknown): asserts value is RolloutState {
  const state = { state: value }
  checkFields(state, { state: fields(stateFields, required) }, 'a rollout that was stored', 'INVALID_CONFIG')
}
