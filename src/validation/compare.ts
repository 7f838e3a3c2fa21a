import { ServingError } from '../errors.js'
import { agreementOf } from './agreement.js'
import { answer, refusePipeline, type Answering } from './answer.js'
import { inputsOf, type Lines } from './cases.js'
import { quantilesOf, type LatencyQuantiles } from './latency.js'
import { Turns } from './turns.js'
import { checkFields } from '../options.js'
import { comparisonFields, defaultTolerance, type ComparisonOptions } from './validate.js'

/** What one of two versions is like. */
export interface VersionFigures {
  readonly version: string
  /** Of the artifact's files, external data included; undefined for a model of code. */
  readonly bytes: number | undefined
  /** Of one input after another. */
  readonly latencyMs: LatencyQuantiles
  /** Inputs a second where 16 are under way at once. */
  readonly throughput: number
}

/** Two versions of a model side by side. */
export interface Comparison {
  readonly model: string
  /** Inputs that both were asked. */
  readonly inputs: number
  readonly a: VersionFigures
  readonly b: VersionFigures
  readonly agreement: {
    /** The share of inputs, from 0 to 1, for which both predict the same: the same class, or numbers within the tolerance. */
    readonly same: number
    /** Between the numbers of their answers, confidence and scores included; undefined where there are none. */
    readonly distance: { readonly max: number; readonly mean: number } | undefined
  }
}

/** A version to be compared. */
export interface Contender {
  readonly version: string
  readonly bytes: number | undefined
  readonly by: Answering
}

/** Inputs under way at once where the throughput is measured. */
const concurrency = 16

/** The most inputs that are kept to measure the throughput with. */
const mostKept = 256

/** @throws ServingError INVALID_REQUEST */
export function checkComparison(options: ComparisonOptions): void {
  checkFields<ComparisonOptions>(options, comparisonFields, 'compare()', 'INVALID_REQUEST')
}

/**
 * Asks two versions the same: first one input after another, each version first in turn; then as many at once, for the
 * throughput, the first 256 inputs in each, twice.
 * @throws ServingError what a version throws that can't answer an input; INVALID_REQUEST where there are no inputs;
 *   CONFLICT for a pipeline
 */
export async function compare(
  model: string,
  a: Contender,
  b: Contender,
  inputs: Lines<unknown>,
  { tolerance = defaultTolerance, signal }: ComparisonOptions = {},
): Promise<Comparison> {
  for (const { version, by } of [a, b]) refusePipeline(`${model}@${version}`, by)
  const latencies = { a: [] as number[], b: [] as number[] }
  const kept: unknown[] = []
  const distance = { sum: 0, max: 0, count: 0 }
  let count = 0
  let same = 0
  const turns = new Turns()
  for await (const input of inputsOf(inputs)) {
    await turns.take()
    if (signal?.aborted === true) throw new ServingError('ABORTED', 'the comparison was aborted')
    if (count === 0) for (const { by } of [a, b]) await answer(by, input, signal) // a session's first run is in no figure
    const isAFirst = count++ % 2 === 0
    const first = await answer((isAFirst ? a : b).by, input, signal)
    const second = await answer((isAFirst ? b : a).by, input, signal)
    const [ofA, ofB] = isAFirst ? [first, second] : [second, first]
    latencies.a.push(ofA.latencyMs)
    latencies.b.push(ofB.latencyMs)
    if (agreementOf(ofA.outcome.prediction, ofB.outcome.prediction, tolerance).isEqual) same++
    for (const each of agreementOf(ofA.outcome, ofB.outcome, tolerance).distances) {
      distance.sum += each
      distance.max = Math.max(distance.max, each)
      distance.count++
    }
    if (kept.length < mostKept) kept.push(input)
  }
  if (count === 0) throw new ServingError('INVALID_REQUEST', `${model}: there are no inputs to compare by.`)
  const elapsedMs = { a: 0, b: 0 }
  for (const which of ['a', 'b', 'b', 'a'] as const)
    elapsedMs[which] += await elapsed((which === 'a' ? a : b).by, kept, signal)
  const figures = ({ version, bytes }: Contender, which: 'a' | 'b'): VersionFigures => ({
    version,
    bytes,
    latencyMs: quantilesOf(latencies[which]),
    throughput: (2 * kept.length * 1000) / elapsedMs[which],
  })
  return {
    model,
    inputs: count,
    a: figures(a, 'a'),
    b: figures(b, 'b'),
    agreement: {
      same: same / count,
      distance: distance.count === 0 ? undefined : { max: distance.max, mean: distance.sum / distance.count },
    },
  }
}

/** How long a version takes for some inputs, several under way at once, in milliseconds. */
async function elapsed(
  by: Answering,
  inputs: readonly unknown[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const startedAt = performance.now()
  const rest = inputs.values()
  const turns = new Turns()
  const worker = async () => {
    for (const input of rest) {
      await turns.take()
      await answer(by, input, signal)
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: concurrency }, worker))
  const failure = ended.find((each) => each.status === 'rejected')
  if (failure !== undefined) throw failure.reason
  return performance.now() - startedAt
}
