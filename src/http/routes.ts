import { adminRoutes } from './admin.js'
import type { HttpResponse } from './exchange.js'
import { getHealth, getMetrics, getModel, getModels, getReady, type Exchange } from './native.js'
import { postPredict } from './predict-route.js'
import * as schemas from './schemas.js'

/** Routes that a door mounts together. */
export const routeGroups = ['health', 'predict', 'models', 'metrics', 'admin'] as const

export type RouteGroup = (typeof routeGroups)[number]

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Segments that begin with a colon are parameters. */
  readonly path: string
  readonly group: RouteGroup
  /** What it takes and answers, for documents: nothing is validated by it. */
  readonly schema: schemas.RouteSchema
  readonly handle: (exchange: Exchange) => HttpResponse | Promise<HttpResponse>
}

/** Every HTTP route, as data: adapters mount these and nothing else. */
export const routes: readonly Route[] = [
  { method: 'GET', path: '/health', group: 'health', schema: schemas.health, handle: getHealth },
  { method: 'GET', path: '/ready', group: 'health', schema: schemas.ready, handle: getReady },
  { method: 'GET', path: '/metrics', group: 'metrics', schema: schemas.metrics, handle: getMetrics },
  { method: 'POST', path: '/predict', group: 'predict', schema: schemas.predict, handle: postPredict },
  { method: 'GET', path: '/models', group: 'models', schema: schemas.models, handle: getModels },
  { method: 'GET', path: '/models/:model', group: 'models', schema: schemas.model, handle: getModel },
  {
    method: 'POST',
    path: '/models/:model/predict',
    group: 'predict',
    schema: schemas.predictModel,
    handle: postPredict,
  },
  {
    method: 'POST',
    path: '/models/:model/versions/:version/predict',
    group: 'predict',
    schema: schemas.predictVersion,
    handle: postPredict,
  },
  ...adminRoutes,
]
