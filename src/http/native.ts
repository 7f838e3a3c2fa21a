import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { asServingError, ServingError } from '../errors.js'
import { health } from '../health/health.js'
import { isPlainObject, show } from '../options.js'
import type { AnyPrediction, PredictOptions } from '../predict.js'
import type { AnyServing } from '../serving.js'
import { readJsonObject } from './body.js'
import { json, type HttpRequest, type HttpResponse } from './exchange.js'
import { problemDetail } from './problem.js'
import type { DoorOptions } from './door.js'

/** What a handler works with. */
export interface Exchange {
  readonly serving: AnyServing
  readonly options: Required<DoorOptions>
  readonly request: HttpRequest
  readonly requestId: string
}

export function getHealth(): HttpResponse {
  return json(200, health())
}

export function getReady({ serving }: Exchange): HttpResponse {
  const report = serving.readiness()
  return json(report.status === 'ready' ? 200 : 503, report)
}

export function getModels({ serving }: Exchange): HttpResponse {
  return json(200, { models: serving.models.list() })
}

export function getModel({ serving, request }: Exchange): HttpResponse {
  return json(200, serving.models.get(request.params.model ?? ''))
}

export async function getMetrics({ serving }: Exchange): Promise<HttpResponse> {
  const { contentType, body } = await serving.metrics.exposition()
  return { status: 200, headers: { 'content-type': contentType }, body }
}

/** The body's fields that are not the model's input. */
const reserved = new Set(['model_version', 'input', 'instances'])

/**
 * One prediction, or with `instances` one for each, answered one by one.
 *
 * The input is the body itself without `model_version`; `{"input": {...}}` where a model's input has such a name.
 */
export async function postPredict({ serving, options, request, requestId }: Exchange): Promise<HttpResponse> {
  const startedAt = performance.now()
  const body = await readJsonObject(request, options.maxBodyBytes)
  const model = request.params.model ?? serving.defaultModel ?? onlyModel(serving)
  const version = request.params.version ?? body.model_version ?? 'latest'
  if (typeof version !== 'string') {
    throw new ServingError('INVALID_REQUEST', `model_version must be a string; got ${show(version)}.`)
  }
  const predictOptions: PredictOptions = { version, requestId, signal: request.signal }
  if (!('instances' in body)) {
    const prediction = await serving.predict(model, inputOf(body), predictOptions)
    return json(200, {
      request_id: requestId,
      ...answerOf(prediction),
      model_version: prediction.meta.version,
      latency_ms: prediction.meta.latencyMs,
    })
  }
  const instances = instancesOf(body, options.maxInstances)
  setMaxListeners(0, request.signal) // every instance listens
  const predictions = await predictEach(instances, (instance) =>
    serving.predict(model, instance, predictOptions),
  )
  return json(200, { request_id: requestId, predictions, latency_ms: performance.now() - startedAt })
}

function inputOf(body: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (isPlainObject(body.input) && Object.keys(body).every((key) => reserved.has(key))) return body.input
  const { model_version: _, ...input } = body
  return input
}

function instancesOf(body: Readonly<Record<string, unknown>>, maxInstances: number): readonly unknown[] {
  const { instances } = body
  const stray = Object.keys(body).find((key) => key !== 'instances' && key !== 'model_version')
  if (stray !== undefined)
    throw new ServingError('INVALID_REQUEST', `beside instances there can be no ${show(stray)}.`)
  if (Array.isArray(instances) && instances.length > 0 && instances.length <= maxInstances) return instances
  const got = Array.isArray(instances) ? `${instances.length}` : show(instances)
  throw new ServingError(
    'INVALID_REQUEST',
    `instances must be a list of 1 to ${maxInstances} inputs; got ${got}.`,
  )
}

async function predictEach(
  instances: readonly unknown[],
  predict: (instance: unknown) => Promise<AnyPrediction>,
): Promise<object[]> {
  return Promise.all(
    instances.map(async (instance) => {
      try {
        const prediction = await predict(instance)
        return { ...answerOf(prediction), model_version: prediction.meta.version }
      } catch (cause) {
        const error = asServingError(cause)
        // An instance's own fault is its own answer; what no instance can be answered for is the request's.
        if (!error.expose || error.status === 404 || ServingError.is(error, 'ABORTED', 'CLOSED')) throw error
        return { error: { code: error.code, detail: problemDetail(error) } }
      }
    }),
  )
}

function answerOf({ prediction, confidence }: AnyPrediction): object {
  return confidence === undefined ? { prediction } : { prediction, confidence }
}

function onlyModel(serving: AnyServing): string {
  const names = serving.models.names()
  const [only] = names
  if (only !== undefined && names.length === 1) return only
  const known = names.length === 0 ? 'No model is served.' : `The models are ${names.join(', ')}.`
  throw new ServingError('MODEL_REQUIRED', `name the model: POST /models/<model>/predict. ${known}`)
}

/** The caller's id where it is one that is safe to log and to echo, else a new one. */
export function requestIdOf(headers: HttpRequest['headers']): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && /^[\w.-]{1,128}$/.test(given) ? given : randomUUID()
}
