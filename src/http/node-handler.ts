import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Door } from './door.js'
import type { HttpBody, HttpResponse } from './exchange.js'
import { routes, type Route } from './routes.js'

/** A handler of Node's own requests, as Express 4 and 5, Nest and connect call it. */
export type NodeHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** Serves the routes of a door; what is not one of them goes on to `next`. */
export function nodeHandler(door: Door): NodeHandler {
  return (req, res, next) => {
    const match = findRoute(req)
    if (match === undefined) return next()
    const hangUp = new AbortController()
    res.once('close', () => {
      if (!res.writableFinished) hangUp.abort()
    })
    const { route, params } = match
    door
      .answer(route, { params, headers: req.headers, body: bodyOf(req), signal: hangUp.signal })
      .then((response) => send(req, res, response))
      .catch(next)
  }
}

interface Match {
  readonly route: Route
  readonly params: Record<string, string>
}

const table = routes.map((route) => ({ route, segments: route.path.split('/') }))

function findRoute(req: IncomingMessage): Match | undefined {
  const method = req.method === 'HEAD' ? 'GET' : req.method
  const path = (req.url ?? '/').split('?', 1)[0] ?? '/'
  const given = path.length > 1 && path.endsWith('/') ? path.slice(0, -1).split('/') : path.split('/')
  for (const { route, segments } of table) {
    if (route.method !== method || segments.length !== given.length) continue
    const params = matchSegments(segments, given)
    if (params !== undefined) return { route, params }
  }
  return undefined
}

function matchSegments(
  segments: readonly string[],
  given: readonly string[],
): Record<string, string> | undefined {
  const params: Record<string, string> = {}
  for (const [i, segment] of segments.entries()) {
    const value = given[i] ?? ''
    if (!segment.startsWith(':')) {
      if (segment !== value) return undefined
      continue
    }
    try {
      params[segment.slice(1)] = decodeURIComponent(value)
    } catch {
      return undefined // not a well-formed path: no route of ours
    }
  }
  return params
}

/** What an earlier parser of the host made of the body is used as it is. */
function bodyOf(req: IncomingMessage & { body?: unknown }): HttpBody {
  return req.body === undefined ? { stream: req } : { parsed: req.body }
}

function send(req: IncomingMessage, res: ServerResponse, { status, headers, body }: HttpResponse): void {
  if (res.headersSent || res.destroyed) return
  // A body left unread (too large, say) would be taken for the next request of the connection.
  const unread = !req.complete
  res.writeHead(status, {
    ...headers,
    'content-length': Buffer.byteLength(body),
    ...(unread && { connection: 'close' }),
  })
  res.end(req.method === 'HEAD' ? undefined : body)
}
