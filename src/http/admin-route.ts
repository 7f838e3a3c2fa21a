import { ServingError } from '../errors.js'
import type { ChangeOrigin } from '../models/changes.js'
import type { ModelManager } from '../models/manager.js'
import { namePattern } from '../models/repository.js'
import { checkFields, schemaOf, show, type Field, type Fields } from '../options.js'
import { readBytes, unsupportedType, type BodyLimits } from './body.js'
import { json, type HttpRequest, type HttpResponse } from './exchange.js'
import { checkJsonObject, parseJsonObject } from './json.js'
import { isJsonType } from './media-type.js'
import type { Exchange } from './native.js'
import type { Route } from './routes.js'
import { adminSchema, labelName, modelName, versionName } from './schemas.js'

/** What every body may say. */
export interface Reasoned {
  readonly reason?: string
}

interface Call<B> {
  readonly models: ModelManager
  readonly model: string
  readonly version: string
  readonly label: string
  readonly body: B
  readonly origin: ChangeOrigin
}

/** One admin route. What it takes of a body is data: a name that stands not there is refused. */
export interface Action<B> {
  readonly route: `${'GET' | 'POST' | 'PUT' | 'DELETE'} /admin/${string}`
  readonly operationId: string
  readonly summary: string
  /** Of the body. Left out: none is read. */
  readonly fields?: Fields<B>
  readonly required?: readonly (keyof B & string)[]
  /** Fields of the body that the manager checks. Default: false, there are none. */
  readonly takesMore?: boolean
  readonly answer: object
  run(call: Call<B>): unknown
}

const params = { model: modelName, version: versionName, label: labelName }

/** Of a version or a label. */
export const name: Field<string> = {
  expected: `a name that matches ${namePattern.source}, and not "latest"`,
  schema: { type: 'string', pattern: namePattern.source },
  accepts: (value): value is string => typeof value === 'string' && isName(value),
}

/** The route of an action, where the manager can do it. */
export function adminRoute<B extends Reasoned>(action: Action<B>): Route {
  const [method, path] = action.route.split(' ') as [Route['method'], string]
  const named = Object.entries(params).filter(([param]) => path.split('/').includes(`:${param}`))
  const body = action.fields && schemaOf(action.fields, action.required)
  return {
    method,
    path,
    group: 'admin',
    access: 'admin',
    schema: adminSchema({
      operationId: action.operationId,
      summary: action.summary,
      params: Object.fromEntries(named),
      body: body && { ...body, ...(action.takesMore === true && { additionalProperties: true }) },
      answer: { ...action.answer },
    }),
    handle: (exchange) => answer(action, exchange),
  }
}

async function answer<B extends Reasoned>(action: Action<B>, exchange: Exchange): Promise<HttpResponse> {
  const { serving, request, requestId, limits, actor } = exchange
  for (const [param, value] of Object.entries(request.params)) {
    if (!isName(value)) throw invalid(`the path's ${param} must be ${name.expected}; got ${show(value)}.`)
  }
  const body = await bodyOf(action, request, limits)
  const { model = '', version = '', label = '' } = request.params
  const origin = { actor, requestId, ...(body.reason !== undefined && { reason: body.reason }) }
  const models = serving.models
  try {
    const answer = await action.run({ models, model, version, label, body, origin })
    return json(200, answer ?? models.get(model))
  } catch (error) {
    // What the manager calls an option is here a part of the request.
    if (ServingError.is(error, 'INVALID_OPTIONS')) throw invalid(error.message, error)
    throw error
  }
}

/** The body of a request, which need not have one. */
async function bodyOf<B>(
  { fields, required = [], takesMore = false }: Action<B>,
  request: HttpRequest,
  limits: BodyLimits,
): Promise<B> {
  const given = fields === undefined ? {} : await readFields(request, limits)
  const known = Object.entries(given).filter(([key]) => !takesMore || Object.hasOwn(fields ?? {}, key))
  checkFields<object>(Object.fromEntries(known), fields ?? {}, 'the body', 'INVALID_REQUEST')
  const missing = required.find((key) => given[key] === undefined)
  if (missing !== undefined) {
    throw invalid(`the body's ${missing} is missing; it must be ${fields?.[missing].expected ?? 'there'}.`)
  }
  return given as B
}

/** The fields of a body of JSON, where there is one. @throws ServingError UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST */
export async function readFields(
  request: HttpRequest,
  limits: BodyLimits,
): Promise<Readonly<Record<string, unknown>>> {
  const { body, headers } = request
  const type = headers['content-type']
  // Also where the host has parsed it: a page elsewhere can send a form in its visitor's name, but no JSON.
  if (type !== undefined && !isJsonType(String(type))) throw unsupportedType(headers)
  const given = 'parsed' in body ? body.parsed : await readBytes(request, limits)
  if (given === undefined || given === null || given === '') return {}
  if (!(given instanceof Uint8Array)) return checkJsonObject(given, limits).fields
  return given.length === 0 ? {} : parseJsonObject(given, limits).fields
}

function isName(value: string): boolean {
  return namePattern.test(value) && value !== 'latest'
}

function invalid(message: string, cause?: unknown): ServingError {
  return new ServingError('INVALID_REQUEST', message, { cause })
}
