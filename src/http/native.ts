import { health, readiness } from '../health/health.js'
import type { AnyServing } from '../serving.js'
import type { BodyLimits } from './body.js'
import type { RequestContext } from './door-options.js'
import { json, type HttpRequest, type HttpResponse } from './exchange.js'
import type { Route } from './routes.js'

/** The most that one request may ask for. */
export interface Limits extends BodyLimits {
  readonly maxInstances: number
  /** How long a caller may leave an item of a stream untaken. */
  readonly maxStallMs: number
}

/** What a handler works with. */
export interface Exchange {
  readonly serving: AnyServing
  readonly limits: Limits
  /** What the door calls itself. */
  readonly serverName: string
  /** The routes that the door has. */
  readonly routes: readonly Route[]
  /** Whether those that change what serves take a bearer token. */
  readonly takesToken: boolean
  /** Whether the door has the routes that change what serves. */
  readonly isAdministered: boolean
  /** Whether the server behind the door is about to close. */
  readonly isDraining: boolean
  readonly request: HttpRequest
  readonly requestId: string
  /** What the host says of the request. */
  readonly context: RequestContext
  /** Who is asking, of an admin route. */
  readonly actor?: string
}

export function getHealth(): HttpResponse {
  return json(200, health())
}

export function getReady({ serving, isDraining }: Exchange): HttpResponse {
  const report = isDraining ? readiness(['the server is closing']) : serving.readiness()
  return json(report.status === 'ready' ? 200 : 503, report)
}

export function getModels({ serving }: Exchange): HttpResponse {
  return json(200, { models: serving.models.list() })
}

/** @throws ServingError MODEL_NOT_FOUND */
export function getModel({ serving, request }: Exchange): HttpResponse {
  return json(200, serving.models.get(request.params.model ?? ''))
}

export async function getMetrics({ serving }: Exchange): Promise<HttpResponse> {
  const { contentType, body } = await serving.metrics.exposition()
  return { status: 200, headers: { 'content-type': contentType }, body }
}
