import { adminOption, type AdminOptions } from './admin-access.js'
import { checkFields, func, integer, oneOf, provided, text, type Fields } from '../options.js'
import { predictFields, type PredictOptions } from '../prediction.js'
import { safeRequestId } from './request-id.js'
import { routeGroups, type RouteGroup } from './routes.js'

/** What a host may say of a request, whatever its caller says. */
const contextOptions = ['version', 'key', 'priority', 'tenant', 'timeoutMs', 'requestId'] as const

/** Who is asking, as the host knows it. What it says wins over the request. */
export type RequestContext = Pick<PredictOptions, (typeof contextOptions)[number]>

/**
 * What an HTTP door does beyond its serving.
 * @typeParam R the framework's own request
 */
export interface DoorOptions<R = never> {
  /** The largest body that is read, in bytes, inflated. Default: 8 MiB, which hold
   * up the event loop for some 0.2 s while they are read. */
  readonly maxBodyBytes?: number
  /** How deeply a JSON body may be nested. Default: 64. */
  readonly maxBodyDepth?: number
  /** The most entries of a JSON body's lists and objects, in all. Default: 4,194,304. */
  readonly maxBodyElements?: number
  /** The most `instances` of one request. Default: 1000. */
  readonly maxInstances?: number
  /**
   * How long a caller of a stream may leave an item untaken before the stream is ended, in milliseconds: it holds one of
   * the model's runs. Default: 60,000.
   */
  readonly maxStallMs?: number
  /** The groups of routes that are mounted; others stay the host's. Default: all, `'admin'` only with the option `admin`. */
  readonly routes?: readonly RouteGroup[]
  /** What `GET /v2` calls the server. Default: `'mlserving'`. */
  readonly serverName?: string
  /**
   * Who answers errors: `'problem'`, the door itself with problem details, or `'host'`, the host's own error handler,
   * which is given the ServingError. Default: `'problem'`.
   */
  readonly errors?: 'problem' | 'host'
  /**
   * Says who is asking, before the body of a prediction is read. What it throws goes to the host's error handler.
   * A method, so that a request type of the host's own fits. Default: nobody in particular.
   */
  context?(request: R): RequestContext | undefined | Promise<RequestContext | undefined>
  /** Who may change what serves, by the routes below `/admin`. Default: nobody, there are no such routes. */
  readonly admin?: AdminOptions<R>
}

export const doorFields: Fields<DoorOptions> = {
  maxBodyBytes: integer(1),
  maxBodyDepth: integer(1, 10_000),
  maxBodyElements: integer(1),
  maxInstances: integer(1),
  maxStallMs: integer(1, 2 ** 31 - 1),
  routes: provided(
    `a list of ${routeGroups.map((group) => `"${group}"`).join(', ')}, at least one`,
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((group) => (routeGroups as readonly unknown[]).includes(group)),
  ),
  serverName: text,
  errors: oneOf('problem', 'host'),
  context: func(),
  admin: adminOption,
}

export const contextFields: Fields<RequestContext> = {
  ...(Object.fromEntries(
    contextOptions.map((name) => [name, predictFields[name]]),
  ) as Fields<RequestContext>),
  // It becomes a header.
  requestId: {
    expected: `a string that matches ${safeRequestId.source}`,
    accepts: (value): value is string => typeof value === 'string' && safeRequestId.test(value),
  },
}

/**
 * What the host's `context` gave, checked.
 * @throws ServingError INVALID_OPTIONS
 */
export function checkContext(value: unknown): RequestContext {
  if (value === undefined) return {}
  checkFields<RequestContext>(value, contextFields, 'context()', 'INVALID_OPTIONS')
  return value
}
