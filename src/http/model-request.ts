import { ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import type { Awaitable } from '../models/codec.js'
import type { HttpProfile } from '../models/exposure.js'
import type { PredictOptions } from '../prediction.js'
import type { AnyServing } from '../serving.js'
import { bodyKind, readBytes, readJsonObject } from './body.js'
import type { HttpRequest } from './exchange.js'
import type { JsonObject } from './json.js'
import { withoutPrototype } from './json-value.js'
import type { Exchange } from './native.js'

export type Fields = Readonly<Record<string, unknown>>

/** What a request asks of which model. */
export interface ModelRequest {
  readonly model: string
  readonly version: string
  /** The fields of a JSON body, or the bytes of one of a type that the model accepts. */
  readonly body: Fields | Uint8Array
}

/**
 * Reads the request of a route that asks a model.
 * @param isJson whether the body is JSON, whatever its type. Default: its type says it
 * @throws ServingError MODEL_REQUIRED, NOT_EXPOSED, INVALID_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
export async function readModelRequest(exchange: Exchange, isJson = false): Promise<ModelRequest> {
  const { serving, limits, request, context } = exchange
  const { models } = serving
  if (!models.isListed) await models.listed()
  const model = request.params.model ?? serving.defaultModel ?? onlyModel(models.names())
  const { accepts, checked } = models.httpProfile(model) ?? unknownModel
  const asked = context.version ?? request.params.version
  if (!isJson && bodyKind(request, accepts) === 'bytes') {
    return { model, version: asked ?? 'latest', body: await readBytes(request, limits) }
  }

  if (!checked) throw notExposed(model, accepts)
  const body = await readJsonObject(request, limits)
  const version = asked ?? body.fields.model_version ?? 'latest'
  if (typeof version !== 'string') {
    throw new ServingError('INVALID_REQUEST', `model_version must be a string; got ${show(version)}.`)
  }
  const exact = exactFields(serving, model, version, body, exchange)
  return { model, version, body: exact instanceof Promise ? await exact : exact }
}

export function optionsOf({ context, requestId, request }: Exchange, version: string): PredictOptions {
  return { ...context, version, requestId, signal: request.signal }
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

/** The body's fields that are not the model's input. */
const reserved = new Set(['model_version', 'input', 'instances'])

/** The input that is in a JSON body. */
export function inputOf(body: Fields): Fields {
  if (isPlainObject(body.input) && Object.keys(body).every((key) => reserved.has(key))) {
    return withoutPrototype(body.input)
  }
  const input = Object.create(null) as Record<string, unknown>
  for (const name of Object.keys(body)) if (name !== 'model_version') input[name] = body[name]
  return input
}

function notExposed(model: string, accepts: readonly string[]): ServingError {
  const instead = accepts.length === 0 ? '' : ` It takes bodies of ${accepts.join(' or ')}.`
  return new ServingError(
    'NOT_EXPOSED',
    `model "${model}" takes no JSON over HTTP, since nothing would check it: give the model an \`input\` schema, or \`unchecked: true\`.${instead}`,
  )
}

/** Nothing is exposed by it: the prediction says that there is none. */
const unknownModel: Omit<HttpProfile, 'streams'> = { accepts: [], checked: true }

/** @throws ServingError MODEL_REQUIRED */
function onlyModel(names: readonly string[]): string {
  const [only] = names
  if (only !== undefined && names.length === 1) return only
  const known = names.length === 0 ? 'No model is served.' : `The models are ${names.join(', ')}.`
  throw new ServingError('MODEL_REQUIRED', `name the model: POST /models/<model>/predict. ${known}`)
}
