import { setMaxListeners } from 'node:events'
import { ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import type { Awaitable } from '../models/codec.js'
import type { HttpProfile } from '../models/exposure.js'
import type { PredictOptions } from '../prediction.js'
import type { AnyServing } from '../serving.js'
import { bodyKind, checkMediaType, readBytes, readJsonObject } from './body.js'
import type { HttpRequest, HttpResponse } from './exchange.js'
import type { JsonObject } from './json.js'
import { withoutPrototype } from './json-value.js'
import type { Exchange } from './native.js'
import { asksForScores, predictionAnswer, predictionsAnswer, settle } from './prediction-answer.js'

type Fields = Readonly<Record<string, unknown>>

/** The body's fields that are not the model's input. */
const reserved = new Set(['model_version', 'input', 'instances'])

/**
 * One prediction, or with `instances` one for each, answered one by one.
 *
 * The input is the body itself without `model_version`; `{"input": {...}}` where a model's input has such a name; the
 * body's bytes where the model accepts their content type.
 */
export async function postPredict(exchange: Exchange): Promise<HttpResponse> {
  const { serving, limits, request, context } = exchange
  const startedAt = performance.now()
  if (serving.refusal !== undefined) throw serving.refusal
  checkMediaType(request)
  const withScores = asksForScores(request.query)
  const { models } = serving
  if (!models.isListed) await models.listed()
  const model = request.params.model ?? serving.defaultModel ?? onlyModel(models.names())
  const { accepts, checked } = models.httpProfile(model) ?? unknownModel
  const asked = context.version ?? request.params.version
  if (bodyKind(request, accepts) === 'bytes') {
    const bytes = await readBytes(request, limits)
    return answerOne(exchange, model, asked ?? 'latest', bytes, withScores)
  }

  if (!checked) throw notExposed(model, accepts)
  const body = await readJsonObject(request, limits)
  const version = asked ?? body.fields.model_version ?? 'latest'
  if (typeof version !== 'string') {
    throw new ServingError('INVALID_REQUEST', `model_version must be a string; got ${show(version)}.`)
  }
  const exact = exactFields(serving, model, version, body, exchange)
  const fields = exact instanceof Promise ? await exact : exact
  // Neither is awaited: what this function holds, the body first of all, would be held as long.
  return 'instances' in fields
    ? answerEach(exchange, model, version, fields, withScores, startedAt)
    : answerOne(exchange, model, version, inputOf(fields), withScores)
}

function optionsOf({ context, requestId, request }: Exchange, version: string): PredictOptions {
  return { ...context, version, requestId, signal: request.signal }
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

/** A body's fields, with integers beyond 2^53 as bigints where the version takes 64-bit integers. */
function exactFields(
  { models }: AnyServing,
  model: string,
  version: string,
  body: JsonObject,
  { request, context }: Exchange,
): Awaitable<Fields> {
  const takesExact = models.takesExactIntegers(model, version, context.key)
  if (takesExact === false) return body.fields
  const { exact } = body
  if (exact === undefined) return body.fields
  return takesExact === true ? exact() : exactFieldsOnceKnown(models, model, version, body, request)
}

/** What a version takes is known once it is loaded, which the prediction would have to wait for as well. */
async function exactFieldsOnceKnown(
  models: AnyServing['models'],
  model: string,
  version: string,
  { fields, exact }: JsonObject,
  { signal }: HttpRequest,
): Promise<Fields> {
  try {
    ;(await models.lease(model, version, { signal })).release()
  } catch {
    return fields // the prediction will say what is wrong
  }
  return models.takesExactIntegers(model, version) === true && exact !== undefined ? exact() : fields
}

function inputOf(body: Fields): Fields {
  if (isPlainObject(body.input) && Object.keys(body).every((key) => reserved.has(key))) {
    return withoutPrototype(body.input)
  }
  const input = Object.create(null) as Record<string, unknown>
  for (const name of Object.keys(body)) if (name !== 'model_version') input[name] = body[name]
  return input
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

function notExposed(model: string, accepts: readonly string[]): ServingError {
  const instead = accepts.length === 0 ? '' : ` It takes bodies of ${accepts.join(' or ')}.`
  return new ServingError(
    'NOT_EXPOSED',
    `model "${model}" takes no JSON over HTTP, since nothing would check it: give the model an \`input\` schema, or \`unchecked: true\`.${instead}`,
  )
}

/** Nothing is exposed by it: the prediction says that there is none. */
const unknownModel: HttpProfile = { accepts: [], checked: true }

/** @throws ServingError MODEL_REQUIRED */
function onlyModel(names: readonly string[]): string {
  const [only] = names
  if (only !== undefined && names.length === 1) return only
  const known = names.length === 0 ? 'No model is served.' : `The models are ${names.join(', ')}.`
  throw new ServingError('MODEL_REQUIRED', `name the model: POST /models/<model>/predict. ${known}`)
}
