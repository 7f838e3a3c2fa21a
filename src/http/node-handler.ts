import type { IncomingMessage, ServerResponse } from 'node:http'
import { ServingError } from '../errors.js'
import { Caller } from './caller.js'
import type { Door } from './door.js'
import { queryOf, type HandedOn, type HttpBody, type HttpResponse } from './exchange.js'
import type { Route } from './routes.js'

/** A handler of Node's own requests, as Express 4 and 5, Nest and connect call it. */
export type NodeHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** Serves the routes of a door; what is not one of them goes on to `next`. */
export function nodeHandler(door: Door): NodeHandler {
  const table = tableOf(door.routes)
  return (req, res, next) => {
    const match = findRoute(table, req)
    if (match === undefined) return next()
    const { route, params } = match
    if (params === undefined) {
      const error = new ServingError(
        'INVALID_REQUEST',
        'the path is malformed: a "%" needs two hex digits of UTF-8.',
      )
      return send(req, res, next, door.refuse(route, error, req.headers))
    }
    const caller = Caller.of(req, res)
    door
      .answer(route, {
        params,
        query: queryOf(req.url ?? ''),
        headers: req.headers,
        body: bodyOf(req),
        signal: caller.signal,
        source: req,
      })
      .then((answer) => {
        caller.answered()
        send(req, res, next, answer)
      })
      .catch(next)
  }
}

interface Match {
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

/** The routes in their order, by method and number of segments. */
type RouteTable = ReadonlyMap<string, readonly (readonly Entry[] | undefined)[]>

function tableOf(routes: readonly Route[]): RouteTable {
  const table = new Map<string, (Entry[] | undefined)[]>()
  for (const route of routes) {
    const places = route.path.split('/').map((text, index): Place => [index, text])
    const isParam = ([, text]: Place) => text.startsWith(':')
    const entry = {
      route,
      fixed: places.filter((place) => !isParam(place)),
      params: places.filter(isParam).map(([index, text]): Place => [index, text.slice(1)]),
    }
    const byLength = table.get(route.method) ?? []
    byLength[places.length] = [...(byLength[places.length] ?? []), entry]
    table.set(route.method, byLength)
  }
  return table
}

function findRoute(table: RouteTable, req: IncomingMessage): Match | undefined {
  const method = req.method === 'HEAD' ? 'GET' : (req.method ?? '')
  const given = pathOf(req.url ?? '/')
    .split('/')
    .map(decode)
  if (given.length > 2 && given.at(-1) === '') given.pop() // a trailing slash
  const entries = table.get(method)?.[given.length]
  const found = entries?.find(({ fixed }) => fixed.every(([index, text]) => given[index] === text))
  return found && { route: found.route, params: paramsOf(found, given) }
}

/** The path of a request target, which may be a whole URL. */
function pathOf(target: string): string {
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

/**
 * What an earlier parser of the host made of the body is used as it is, unless the body is still to be read:
 * Express 4's `express.json()` leaves `{}` for a type that is not its own.
 */
function bodyOf(req: IncomingMessage & { body?: unknown }): HttpBody {
  const hasBytes = 'transfer-encoding' in req.headers || Number(req.headers['content-length']) > 0
  const isUnread = hasBytes && !req.readableDidRead
  return req.body === undefined || isUnread ? { stream: req } : { parsed: req.body }
}

function send(
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
  answer: HttpResponse | HandedOn,
): void {
  // The caller is gone, or the host has answered meanwhile.
  if (res.headersSent || res.destroyed) return
  if ('error' in answer) {
    for (const [name, value] of Object.entries(answer.headers)) res.setHeader(name, value)
    return next(answer.error)
  }
  const { status, headers, body } = answer
  res.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
  res.end(req.method === 'HEAD' ? undefined : body)
}
