import { Door } from '../../src/http/door.js'
import type { DoorOptions as CommonOptions, RequestContext } from '../../src/http/door-options.js'
import { fetchHandler, fetchHandlerFields, type FetchHandlerOptions } from '../../src/http/fetch-handler.js'
import { checkFields, isPlainObject } from '../../src/options.js'
import type { CreateServingOptions } from '../../src/serving-options.js'
import { isServing, type AnyServing } from '../../src/serving.js'

export type { RequestContext }

export interface DoorOptions extends CommonOptions<Request>, FetchHandlerOptions {}

/** A function from request to response, as Next.js, Hono, Bun, Deno and wrappers of Lambda take it. */
export interface ServingHandler {
  (request: Request): Promise<Response>
  /** The handler itself, for hosts that take an object with a `fetch`. */
  readonly fetch: (request: Request) => Promise<Response>
  /** The serving behind the routes. */
  readonly serving: AnyServing
  /**
   * Closes the serving if the handler made it, and the default one with the last handler that uses it. Call it when
   * the server closes.
   */
  close(): Promise<void>
}

/**
 * The routes of a serving as a function `(request: Request) => Promise<Response>`, below a `prefix` where there is
 * one. What is not one of the routes is answered with 404, or as `notFound` says.
 *
 * @param source a serving, which stays the caller's to close; a repository folder; or the options of a serving of
 *   the handler's own, with the door's. Default: the process's default serving, of `./models`
 * @throws ServingError INVALID_OPTIONS
 */
export function mlServing(
  source?: AnyServing | string | (CreateServingOptions & DoorOptions),
  options: DoorOptions = {},
): ServingHandler {
  const [inSource, rest] = !isServing(source) && isPlainObject(source) ? split(source) : [{}, source]
  const [beside, doorOptions] = split(options)
  const own = { ...inSource, ...beside }
  checkFields<FetchHandlerOptions>(own, fetchHandlerFields, 'mlServing()', 'INVALID_OPTIONS')
  const door = Door.open(rest, doorOptions)
  const fetch = fetchHandler(door, own)
  return Object.assign((request: Request) => fetch(request), {
    fetch,
    serving: door.serving,
    close: () => door.close(),
  })
}

/** The options of the function itself, and all others. */
function split<T extends FetchHandlerOptions>(
  options: T,
): [own: FetchHandlerOptions, others: Omit<T, keyof FetchHandlerOptions>] {
  const { prefix, notFound, ...others } = options
  return [{ ...(prefix !== undefined && { prefix }), ...(notFound && { notFound }) }, others]
}

export default mlServing
