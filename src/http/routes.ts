import { adminRoutes } from './admin.js'
import type { HttpResponse } from './exchange.js'
import { getHealth, getMetrics, getModel, getModels, getReady, type Exchange } from './native.js'
import { getOpenApi } from './openapi-route.js'
import { postPredict } from './predict-route.js'
import * as predictSchemas from './predict-schemas.js'
import type { RouteSchema } from './route-schema.js'
import * as schemas from './schemas.js'
import { postStream } from './stream-route.js'
import { generateRoutes } from './v2-generate-routes.js'
import { v2Routes } from './v2-routes.js'

/** Routes that a door mounts together. */
export const routeGroups = ['health', 'predict', 'models', 'metrics', 'openapi', 'v2', 'admin'] as const

export type RouteGroup = (typeof routeGroups)[number]

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Segments that begin with a colon are parameters. */
  readonly path: string
  readonly group: RouteGroup
  /** Whom the host is asked about first: its `context` of who asks for a prediction, or who may change what serves. */
  readonly access?: 'context' | 'admin'
  /** What it takes and answers, for documents: nothing is validated by it. */
  readonly schema: RouteSchema
  readonly handle: (exchange: Exchange) => HttpResponse | Promise<HttpResponse>
}

/** Every HTTP route, as data: adapters mount these and nothing else. */
export const routes: readonly Route[] = [
  { method: 'GET', path: '/health', group: 'health', schema: schemas.health, handle: getHealth },
  { method: 'GET', path: '/ready', group: 'health', schema: schemas.ready, handle: getReady },
  { method: 'GET', path: '/metrics', group: 'metrics', schema: schemas.metrics, handle: getMetrics },
  { method: 'GET', path: '/openapi.json', group: 'openapi', schema: schemas.openApi, handle: getOpenApi },
  {
    method: 'POST',
    path: '/predict',
    group: 'predict',
    access: 'context',
    schema: predictSchemas.predict,
    handle: postPredict,
  },
  { method: 'GET', path: '/models', group: 'models', schema: schemas.models, handle: getModels },
  { method: 'GET', path: '/models/:model', group: 'models', schema: schemas.model, handle: getModel },
  {
    method: 'POST',
    path: '/models/:model/predict',
    group: 'predict',
    access: 'context',
    schema: predictSchemas.predictModel,
    handle: postPredict,
  },
  {
    method: 'POST',
    path: '/models/:model/versions/:version/predict',
    group: 'predict',
    access: 'context',
    schema: predictSchemas.predictVersion,
    handle: postPredict,
  },
  {
    method: 'POST',
    path: '/models/:model/stream',
    group: 'predict',
    access: 'context',
    schema: predictSchemas.streamModel,
    handle: postStream,
  },
  {
    method: 'POST',
    path: '/models/:model/versions/:version/stream',
    group: 'predict',
    access: 'context',
    schema: predictSchemas.streamVersion,
    handle: postStream,
  },
  ...v2Routes,
  ...generateRoutes,
  ...adminRoutes,
]
