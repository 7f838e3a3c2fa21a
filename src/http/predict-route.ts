import { setMaxListeners } from 'node:events'
import { ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import { checkMediaType } from './body.js'
import type { HttpResponse } from './exchange.js'
import { withoutPrototype } from './json-value.js'
import { inputOf, optionsOf, readModelRequest, type Fields } from './model-request.js'
import type { Exchange } from './native.js'
import { asksForScores, predictionAnswer, predictionsAnswer, settle } from './prediction-answer.js'

/**
 * One prediction, or with `instances` one for each, answered one by one.
 *
 * The input is the body itself without `model_version`; `{"input": {...}}` where a model's input has such a name; the
 * body's bytes where the model accepts their content type.
 */
export async function postPredict(exchange: Exchange): Promise<HttpResponse> {
  const { serving, request } = exchange
  const startedAt = performance.now()
  if (serving.refusal !== undefined) throw serving.refusal
  checkMediaType(request)
  const withScores = asksForScores(request.query)
  const { model, version, body } = await readModelRequest(exchange)
  // Neither is awaited: what this function holds, the body first of all, would be held as long.
  if (body instanceof Uint8Array) return answerOne(exchange, model, version, body, withScores)
  return 'instances' in body
    ? answerEach(exchange, model, version, body, withScores, startedAt)
    : answerOne(exchange, model, version, inputOf(body), withScores)
}

function answerOne(
  exchange: Exchange,
  model: string,
  version: string,
  input: unknown,
  withScores: boolean,
): Promise<HttpResponse> {
  const { serving, requestId } = exchange
  return serving
    .predict(model, input, optionsOf(exchange, version))
    .then((prediction) => predictionAnswer(prediction, requestId, withScores))
}

async function answerEach(
  exchange: Exchange,
  model: string,
  version: string,
  fields: Fields,
  withScores: boolean,
  startedAt: number,
): Promise<HttpResponse> {
  const { serving, limits, request, requestId } = exchange
  const instances = instancesOf(fields, limits.maxInstances)
  setMaxListeners(0, request.signal) // every instance listens
  const settled = await Promise.all(
    instances.map((instance) => {
      const input = isPlainObject(instance) ? withoutPrototype(instance) : instance
      return settle(serving.predict(model, input, optionsOf(exchange, version)), (error) =>
        serving.logger.error({ err: error, requestId }, error.message),
      )
    }),
  )
  return predictionsAnswer(settled, requestId, withScores, startedAt)
}

function instancesOf(body: Fields, maxInstances: number): readonly unknown[] {
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
