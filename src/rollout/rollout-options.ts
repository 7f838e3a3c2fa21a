import { ServingError } from '../errors.js'
import { checkFields, fields, integer, provided, text, type Field, type Fields } from '../options.js'

/** Failures of the new version, against those of the stable one. */
export interface ErrorRatioGuard {
  /** How much higher the share of failed requests may be, from 0 to 1: 0.01 is one point of a hundred. */
  readonly maxIncrease: number
}

/** Latencies of requests that succeeded, against those of the stable version. */
export interface LatencyGuard {
  /** The quantile that is compared. Default: 0.95. */
  readonly quantile?: number
  /** How many times that of the stable version it may be, above 1. */
  readonly maxRatio: number
}

/** Answers of both versions to the same inputs. */
export interface AgreementGuard {
  /** The share of inputs on which both must agree. */
  readonly min: number
}

/** What is watched; at least one. */
export interface RolloutGuards {
  /** The share of requests that fail. */
  readonly errorRatio?: ErrorRatioGuard
  /** A quantile of the latency. */
  readonly latency?: LatencyGuard
  /** The share of inputs to which both versions give the same answer. */
  readonly agreement?: AgreementGuard
}

/** How a version takes over the traffic of the one that serves. */
export interface RolloutOptions {
  /** The new version. */
  readonly version: string
  /** Its shares of the traffic, one step after the other, in percent. Default: 5, 25, 100. */
  readonly steps?: readonly number[]
  /** Requests that the new version must have answered before a step is passed. Default: 200. */
  readonly minRequests?: number
  /** The shortest time of a step. Default: 60,000. */
  readonly minStepMs?: number
  /** The longest time of a step: what is undecided then goes back to the stable version. Default: as long as it takes. */
  readonly maxStepMs?: number
  /** What is watched. Default: failures, up to one point more. */
  readonly guards?: RolloutGuards
  /** The chance of each of the two wrong decisions: a good version rolled back, a bad one promoted. Default: 0.01. */
  readonly significance?: number
}

/** Rollout options with every default filled in. */
export type RolloutPlan = Required<Omit<RolloutOptions, 'maxStepMs'>> & Pick<RolloutOptions, 'maxStepMs'>

function share(expected: string, min: number, max: number): Field<number> {
  return provided(expected, (value) => typeof value === 'number' && value >= min && value <= max, {
    type: 'number',
    minimum: min,
    maximum: max,
  })
}

export const errorRatioFields: Fields<ErrorRatioGuard> = {
  maxIncrease: share('a number from 0.0001 to 0.5', 0.0001, 0.5),
}

export const latencyFields: Fields<LatencyGuard> = {
  quantile: share('a number from 0.5 to 0.999', 0.5, 0.999),
  maxRatio: share('a number from 1.05 to 100', 1.05, 100),
}

export const agreementFields: Fields<AgreementGuard> = {
  min: share('a number from 0.5 to 0.9999', 0.5, 0.9999),
}

export const guardFields: Fields<RolloutGuards> = {
  errorRatio: fields(errorRatioFields, ['maxIncrease']),
  latency: fields(latencyFields, ['maxRatio']),
  agreement: fields(agreementFields, ['min']),
}

const longestMs = 2 ** 31 - 1

export const rolloutFields: Fields<RolloutOptions> = {
  version: text,
  steps: provided(
    'a list of rising numbers above 0 and up to 100, the first below 100',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every(
        (each, i) => typeof each === 'number' && each > (i === 0 ? 0 : value[i - 1]) && each <= 100,
      ) &&
      value[0] < 100,
    {
      type: 'array',
      items: { type: 'number', exclusiveMinimum: 0, maximum: 100 },
      minItems: 1,
      uniqueItems: true,
    },
  ),
  minRequests: integer(1),
  minStepMs: integer(0, longestMs),
  maxStepMs: integer(1, longestMs),
  guards: fields(guardFields),
  significance: share('a number from 0.000001 to 0.2', 0.000001, 0.2),
}

const where = 'startRollout()'

/**
 * Checks rollout options and fills in what was left out.
 * @throws ServingError INVALID_OPTIONS
 */
export function rolloutPlan(options: RolloutOptions): RolloutPlan {
  checkFields(options, rolloutFields, where, 'INVALID_OPTIONS')
  const {
    version,
    steps = [5, 25, 100],
    minRequests = 200,
    minStepMs = 60_000,
    maxStepMs,
    guards = { errorRatio: { maxIncrease: 0.01 } },
    significance = 0.01,
  } = options
  if ((version as unknown) === undefined) throw invalid('version is missing; it must be a non-empty string.')
  if (Object.values(guards).every((guard) => guard === undefined)) {
    throw invalid(`guards must have at least one of ${Object.keys(guardFields).join(', ')}.`)
  }
  if (maxStepMs !== undefined && maxStepMs <= minStepMs) {
    throw invalid(`maxStepMs must be more than minStepMs, ${minStepMs}; got ${maxStepMs}.`)
  }
  const plan = { version, steps, minRequests, minStepMs, guards, significance }
  return maxStepMs === undefined ? plan : { ...plan, maxStepMs }
}

function invalid(what: string): ServingError {
  return new ServingError('INVALID_OPTIONS', `${where}: ${what}`)
}
