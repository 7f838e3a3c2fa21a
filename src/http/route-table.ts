import { ServingError } from '../errors.js'
import type { Route } from './routes.js'

export interface Match {
  readonly route: Route
  /** Undefined where one can't be decoded. */
  readonly params: Record<string, string> | undefined
}

/** A segment of a path, or the name of one that is a parameter, and where it stands. */
type Place = readonly [index: number, text: string]

interface Entry {
  readonly route: Route
  readonly fixed: readonly Place[]
  readonly params: readonly Place[]
}

/** Finds the route of a request where no framework's router does. */
export class RouteTable {
  /** The routes in their order, by method and number of segments. */
  readonly #entries = new Map<string, (Entry[] | undefined)[]>()

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const places = route.path.split('/').map((text, index): Place => [index, text])
      const isParam = ([, text]: Place) => text.startsWith(':')
      const entry = {
        route,
        fixed: places.filter((place) => !isParam(place)),
        params: places.filter(isParam).map(([index, text]): Place => [index, text.slice(1)]),
      }
      const byLength = this.#entries.get(route.method) ?? []
      byLength[places.length] = [...(byLength[places.length] ?? []), entry]
      this.#entries.set(route.method, byLength)
    }
  }

  /**
   * @param method of the request; HEAD is answered as GET
   * @param target a path, with or without a query, or a whole URL
   */
  find(method: string, target: string): Match | undefined {
    const given = pathOf(target).split('/').map(decode)
    if (given.length > 2 && given.at(-1) === '') given.pop() // a trailing slash
    if (given.length > 2 && given.at(-1) === '') return undefined // another one is no name
    const entries = this.#entries.get(method === 'HEAD' ? 'GET' : method)?.[given.length]
    const found = entries?.find(({ fixed }) => fixed.every(([index, text]) => given[index] === text))
    return found && { route: found.route, params: paramsOf(found, given) }
  }
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

function paramsOf({ params: places }: Entry, given: readonly (string | undefined)[]): Match['params'] {
  const params: Record<string, string> = {}
  for (const [index, name] of places) {
    const value = given[index]
    if (value === undefined) return undefined
    params[name] = value
  }
  return params
}
