import { ServingError } from '../errors.js'
import type { Route } from './routes.js'

export interface Match {
  readonly route: Route
  /** Undefined where one can't be decoded. */
  readonly params: Record<string, string> | undefined
}

interface Entry {
  readonly route: Route
  readonly segments: readonly string[]
}

/** Finds the route of a request where no framework's router does. */
export class RouteTable {
  /** By method and number of segments, in their order. */
  readonly #entries = new Map<string, Entry[]>()

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const segments = route.path.split('/')
      const key = keyOf(route.method, segments.length)
      this.#entries.set(key, [...(this.#entries.get(key) ?? []), { route, segments }])
    }
  }

  /**
   * @param method of the request; HEAD is answered as GET
   * @param target a path, with or without a query, or a whole URL
   */
  find(method: string, target: string): Match | undefined {
    const asked = method === 'HEAD' ? 'GET' : method
    const given = pathOf(target).split('/').map(decode)
    if (given.length > 2 && given.at(-1) === '') given.pop() // a trailing slash
    const found = this.#entries
      .get(keyOf(asked, given.length))
      ?.find(({ segments }) => matches(segments, given))
    return found && { route: found.route, params: paramsOf(found.segments, given) }
  }
}

function keyOf(method: string, segments: number): string {
  return `${method} ${segments}`
}

/** What is said of a path whose parameters can't be decoded. */
export function malformedPath(): ServingError {
  return new ServingError('INVALID_REQUEST', 'the path is malformed: a "%" needs two hex digits of UTF-8.')
}

/** The path of a request target, which may be a whole URL. */
export function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '')
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

/** Whether a path fits a route of as many segments. */
function matches(segments: readonly string[], given: readonly (string | undefined)[]): boolean {
  return segments.every((segment, i) => segment.startsWith(':') || segment === given[i])
}

function paramsOf(segments: readonly string[], given: readonly (string | undefined)[]): Match['params'] {
  const params: Record<string, string> = {}
  for (const [i, segment] of segments.entries()) {
    if (!segment.startsWith(':')) continue
    const value = given[i]
    if (value === undefined) return undefined
    params[segment.slice(1)] = value
  }
  return params
}
