import { asServingError, ServingError } from '../errors.js'
import { checkFields, fields, integer, isPlainObject, provided, type Fields } from '../options.js'
import { agreementOf, asExpected } from './agreement.js'
import { answer, refusePipeline, type Answering, type TimedOutcome } from './answer.js'
import { casesOf, isLines, type Lines, type ValidationCase } from './cases.js'
import { quantilesOf, type LatencyQuantiles } from './latency.js'
import { Turns } from './turns.js'

/** How any two answers are compared. */
export interface ComparisonOptions {
  /**
   * How far numbers may be off: by so much, or by so much of the expected one where that is more than 1. Default:
   * 0.0001.
   */
  readonly tolerance?: number
  /** Ends it with ABORTED. */
  readonly signal?: AbortSignal
}

export interface ValidationOptions extends ComparisonOptions {
  /** The least share of cases that must pass, from 0 to 1. Default: 1. */
  readonly minAccuracy?: number
  /** The most that quantiles of the latency may be, in milliseconds. Default: any. */
  readonly maxLatencyMs?: Partial<LatencyQuantiles>
  /** The most mismatches that are reported; all are counted. Default: 20. */
  readonly maxMismatches?: number
}

/** A case that a version answered otherwise, or not at all. */
export interface Mismatch {
  /** Of the case, from 0. */
  readonly index: number
  readonly input: unknown
  readonly expected: unknown
  /** What came, or `{ error: { code, message } }`. */
  readonly got: unknown
}

/** What a validation found. */
export interface ValidationReport {
  readonly model: string
  readonly version: string
  readonly cases: number
  /** Cases that were answered as expected. */
  readonly passed: number
  /** The share of cases that passed, from 0 to 1. */
  readonly accuracy: number
  /** The first of those that did not pass. */
  readonly mismatches: readonly Mismatch[]
  /** Of one case after another, with nothing beside it but live traffic. */
  readonly latencyMs: LatencyQuantiles
  readonly slo: {
    /** Whether accuracy and latency are as the options ask. */
    readonly met: boolean
    /** What is not, whole sentences. */
    readonly breaches: readonly string[]
  }
}

/** What a switch is held to. */
export interface ValidationGate extends ValidationOptions {
  readonly cases: Lines<ValidationCase>
}

const share = provided<number>(
  'a number from 0 to 1',
  (value) => typeof value === 'number' && value >= 0 && value <= 1,
)
const amount = provided<number>(
  'a number of at least 0',
  (value) => typeof value === 'number' && value >= 0 && value < Infinity,
)

export const comparisonFields: Fields<ComparisonOptions> = {
  tolerance: amount,
  // JSON can hold nothing that passes for one: options of a request come here as well.
  signal: provided(
    'an AbortSignal',
    (value) => isPlainObject(value) && 'aborted' in value && typeof value.addEventListener === 'function',
  ),
}

export const validationFields: Fields<ValidationOptions> = {
  ...comparisonFields,
  minAccuracy: share,
  maxLatencyMs: fields<Partial<LatencyQuantiles>>({ p50: amount, p95: amount, p99: amount }),
  maxMismatches: integer(0, 100_000),
}

const gateFields: Fields<ValidationGate> = {
  ...validationFields,
  cases: provided('a list of cases, or the path of a file of them', isLines),
}

export const defaultTolerance = 1e-4

/** Errors that say nothing of the version: nobody waits for it any more. */
const endings = ['CLOSED', 'ABORTED'] as const

/** @throws ServingError INVALID_REQUEST */
export function checkValidation(options: ValidationOptions): void {
  checkFields<ValidationOptions>(options, validationFields, 'validate()', 'INVALID_REQUEST')
}

/** @throws ServingError INVALID_REQUEST */
export function checkGate(gate: ValidationGate, where: string): void {
  const field = fields(gateFields, ['cases'])
  checkFields({ validate: gate }, { validate: field }, where, 'INVALID_REQUEST')
}

/**
 * Runs cases through a version one after another, and reports how it answered. The first is run once more before, so
 * that a session's first run is in no figure.
 * @throws ServingError INVALID_REQUEST for options or cases that are none, or no cases; CONFLICT for a pipeline;
 *   ABORTED, CLOSED
 */
export async function validate(
  model: string,
  version: string,
  by: Answering,
  cases: Lines<ValidationCase>,
  options: ValidationOptions = {},
): Promise<ValidationReport> {
  const { tolerance = defaultTolerance, maxMismatches = 20, signal } = options
  refusePipeline(`${model}@${version}`, by)
  const mismatches: Mismatch[] = []
  const latenciesMs: number[] = []
  let count = 0
  let passed = 0
  const turns = new Turns()
  for await (const each of casesOf(cases)) {
    await turns.take()
    const { input, expected } = each
    const index = count++
    if (index === 0) await attempt(by, input, signal)
    const result = await attempt(by, input, signal)
    const compared = ServingError.is(result)
      ? { expected, got: { error: { code: result.code, message: result.message } } }
      : asExpected(expected, result.outcome)
    if (!ServingError.is(result)) {
      latenciesMs.push(result.latencyMs)
      if (agreementOf(compared.expected, compared.got, each.tolerance ?? tolerance).isEqual) {
        passed++
        continue
      }
    }
    if (mismatches.length < maxMismatches) mismatches.push({ index, input, ...compared })
  }
  if (count === 0) {
    throw new ServingError('INVALID_REQUEST', `${model}@${version}: there are no cases to validate it by.`)
  }
  const accuracy = passed / count
  const latencyMs = quantilesOf(latenciesMs)
  const breaches = breachesOf(accuracy, latencyMs, options)
  return {
    model,
    version,
    cases: count,
    passed,
    accuracy,
    mismatches,
    latencyMs,
    slo: { met: breaches.length === 0, breaches },
  }
}

async function attempt(
  by: Answering,
  input: unknown,
  signal: AbortSignal | undefined,
): Promise<TimedOutcome | ServingError> {
  if (signal?.aborted === true) throw new ServingError('ABORTED', 'the validation was aborted')
  try {
    return await answer(by, input, signal)
  } catch (error) {
    const failure = asServingError(error)
    if (ServingError.is(failure, ...endings)) throw failure
    return failure
  }
}

function breachesOf(
  accuracy: number,
  latencyMs: LatencyQuantiles,
  { minAccuracy = 1, maxLatencyMs = {} }: ValidationOptions,
): string[] {
  const breaches: string[] = []
  if (accuracy < minAccuracy) breaches.push(`accuracy is ${accuracy}, and must be at least ${minAccuracy}.`)
  for (const quantile of ['p50', 'p95', 'p99'] as const) {
    const most = maxLatencyMs[quantile]
    const found = latencyMs[quantile]
    if (most !== undefined && found > most)
      breaches.push(`${quantile} of the latency is ${found.toFixed(2)} ms, and must be at most ${most} ms.`)
  }
  return breaches
}

/** Says why a version was refused. */
export function validationFailed({ model, version, cases, passed, slo }: ValidationReport): ServingError {
  return new ServingError(
    'VALIDATION_FAILED',
    `${model}@${version} answered ${passed} of ${cases} cases as expected: ${slo.breaches.join(' ')} What serves is as it was.`,
  )
}
