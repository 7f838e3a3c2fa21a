import type { HttpResponse } from './exchange.js'
import { getHealth, getMetrics, getModel, getModels, getReady, postPredict, type Exchange } from './native.js'

export interface Route {
  readonly method: 'GET' | 'POST'
  /** Segments that begin with a colon are parameters. */
  readonly path: string
  readonly handle: (exchange: Exchange) => HttpResponse | Promise<HttpResponse>
}

/** Every HTTP route, as data: adapters mount these and nothing else. */
export const routes: readonly Route[] = [
  { method: 'GET', path: '/health', handle: getHealth },
  { method: 'GET', path: '/ready', handle: getReady },
  { method: 'GET', path: '/metrics', handle: getMetrics },
  { method: 'POST', path: '/predict', handle: postPredict },
  { method: 'GET', path: '/models', handle: getModels },
  { method: 'GET', path: '/models/:model', handle: getModel },
  { method: 'POST', path: '/models/:model/predict', handle: postPredict },
  { method: 'POST', path: '/models/:model/versions/:version/predict', handle: postPredict },
]
