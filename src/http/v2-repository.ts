import { ServingError } from '../errors.js'
import type { ChangeOrigin } from '../models/changes.js'
import type { VersionState } from '../models/version.js'
import { isPlainObject, show } from '../options.js'
import type { AnyServing } from '../serving.js'
import { readFields } from './admin-route.js'
import type { BodyLimits } from './body.js'
import { json, type HttpRequest, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'

/** A version of a model, or a model that has none, as the repository's index has it. */
export interface IndexEntry {
  readonly name: string
  readonly version?: string
  readonly state: 'READY' | 'LOADING' | 'UNLOADING' | 'UNAVAILABLE'
  /** Why it is unavailable; else empty. */
  readonly reason: string
}

const states: Readonly<Record<VersionState, IndexEntry['state']>> = {
  registered: 'UNAVAILABLE',
  loading: 'LOADING',
  ready: 'READY',
  draining: 'UNLOADING',
  unloaded: 'UNAVAILABLE',
  failed: 'UNAVAILABLE',
}

/** The models and versions that are known. @param onlyReady leaves out all that can't answer now */
export async function repositoryIndex({ models }: AnyServing, onlyReady = false): Promise<IndexEntry[]> {
  await models.listed()
  const index = models.list().flatMap(({ name, reason, versions }): IndexEntry[] => {
    if (versions.length === 0)
      return [{ name, state: 'UNAVAILABLE', reason: reason ?? 'there is no version' }]
    return versions.map(({ version, state, reason: own = '' }) => {
      const isElsewhere = state === 'registered' || state === 'unloaded'
      return { name, version, state: states[state], reason: own === '' && isElsewhere ? 'not loaded' : own }
    })
  })
  return onlyReady ? index.filter(({ state }) => state === 'READY') : index
}

/**
 * Loads the version of a model that is to serve, unless one does.
 * @param parameters of the request: none of those that other servers have is heeded here
 * @throws ServingError INVALID_REQUEST where they bring a configuration or files; as {@link ModelManager.loadModel}
 */
export async function loadModel(
  { models }: AnyServing,
  model: string,
  parameters: Readonly<Record<string, unknown>>,
  origin: ChangeOrigin,
): Promise<void> {
  const brought = Object.keys(parameters).find((name) => name === 'config' || name.startsWith('file:'))
  if (brought !== undefined)
    throw invalid(`a model is loaded as it lies in the repository: send no parameter ${show(brought)}.`)
  await models.loadModel(model, origin)
}

/**
 * Unloads all versions of a model, once the requests on them have ended.
 * @throws ServingError MODEL_NOT_FOUND, CLOSED
 */
export async function unloadModel(
  { models }: AnyServing,
  model: string,
  origin: ChangeOrigin,
): Promise<void> {
  await models.unload(model, undefined, origin)
}

export async function postV2Index({ serving, request, limits }: Exchange): Promise<HttpResponse> {
  const { ready: given } = await readBody(request, limits)
  const ready = given ?? false
  if (typeof ready !== 'boolean') throw invalid(`ready must be true or false; got ${show(ready)}.`)
  return json(200, await repositoryIndex(serving, ready))
}

export async function postV2Load({ serving, request, limits, ...by }: Exchange): Promise<HttpResponse> {
  const { parameters: given } = await readBody(request, limits)
  const parameters = given ?? {}
  if (!isPlainObject(parameters)) throw invalid(`parameters must be an object; got ${show(parameters)}.`)
  await loadModel(serving, request.params.model ?? '', parameters, originOf(by))
  return json(200, {})
}

export async function postV2Unload({ serving, request, limits, ...by }: Exchange): Promise<HttpResponse> {
  await readBody(request, limits)
  await unloadModel(serving, request.params.model ?? '', originOf(by))
  return json(200, {})
}

/** Clients send JSON as bytes: so does tritonclient's for asyncio. */
function readBody(request: HttpRequest, limits: BodyLimits): Promise<Readonly<Record<string, unknown>>> {
  return readFields(request, limits, ['application/octet-stream'])
}

function originOf({ actor, requestId }: Pick<Exchange, 'actor' | 'requestId'>): ChangeOrigin {
  return { actor, requestId }
}

function invalid(message: string): ServingError {
  return new ServingError('INVALID_REQUEST', message)
}
