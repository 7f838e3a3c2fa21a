import { asServingError, ServingError } from '../errors.js'
import { show } from '../options.js'
import type { AnyPrediction } from '../prediction.js'
import { json, type HttpResponse } from './exchange.js'
import { problemDetail } from './problem.js'

/**
 * Whether a query asks for the score of each class.
 * @throws ServingError INVALID_REQUEST
 */
export function asksForScores(query: string): boolean {
  if (query === '') return false
  const scores = new URLSearchParams(query).get('scores')
  if (scores === null || scores === 'false') return false
  if (scores === 'true') return true
  throw new ServingError('INVALID_REQUEST', `?scores must be true or false; got ${show(scores)}.`)
}

export function predictionAnswer(
  prediction: AnyPrediction,
  requestId: string,
  withScores: boolean,
): HttpResponse {
  const answer = {
    request_id: requestId,
    ...outcomeOf(prediction, withScores),
    latency_ms: prediction.meta.latencyMs,
  }
  return json(200, answer, degradedHeader([prediction]))
}

/** An instance's prediction, or the error that is its own. */
export type Settled = AnyPrediction | ServingError

/**
 * Waits for an instance. Its own fault is its own answer; what no instance can be answered for is the request's.
 * @param log told of what the answer does not tell
 * @throws ServingError
 */
export async function settle(
  prediction: Promise<AnyPrediction>,
  log: (error: ServingError) => void,
): Promise<Settled> {
  try {
    return await prediction
  } catch (cause) {
    const error = asServingError(cause)
    const isOwn = error.expose || error.code === 'INFERENCE_FAILED'
    if (!isOwn || error.status === 404 || ServingError.is(error, 'ABORTED', 'CLOSED')) throw error
    if (!error.expose) log(error)
    return error
  }
}

/** @param startedAt when the request came, by `performance.now()` */
export function predictionsAnswer(
  settled: readonly Settled[],
  requestId: string,
  withScores: boolean,
  startedAt: number,
): HttpResponse {
  const answer = {
    request_id: requestId,
    predictions: settled.map((one) =>
      one instanceof Error
        ? { error: { code: one.code, detail: problemDetail(one) } }
        : outcomeOf(one, withScores),
    ),
    latency_ms: performance.now() - startedAt,
  }
  return json(
    200,
    answer,
    degradedHeader(settled.filter((one): one is AnyPrediction => !(one instanceof Error))),
  )
}

function outcomeOf({ prediction, confidence, scores, meta }: AnyPrediction, withScores: boolean): object {
  return {
    prediction,
    ...(confidence !== undefined && { confidence }),
    ...(withScores && scores !== undefined && { scores }),
    model_version: meta.version,
  }
}

/** Says how answers that are not the model's own, fresh ones came about. */
function degradedHeader(predictions: readonly AnyPrediction[]): Record<string, string> {
  const ways = new Set(predictions.map(({ meta }) => meta.degraded).filter((way) => way !== undefined))
  return ways.size === 0 ? {} : { 'x-mlserving-degraded': [...ways].join(', ') }
}
