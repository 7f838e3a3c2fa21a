import type { IncomingMessage, ServerResponse } from 'node:http'
import { Caller } from './caller.js'
import type { Door } from './door.js'
import { isStreamed, queryOf, type HandedOn, type HttpBody, type WholeResponse } from './exchange.js'
import { sendStream } from './node-stream.js'
import { malformedPath, pathOf, RouteTable } from './route-table.js'

/** A handler of Node's own requests, as Express 4 and 5, Nest and connect call it. */
export type NodeHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** Serves the routes of a door; what is not one of them goes on to `next`. */
export function nodeHandler(door: Door): NodeHandler {
  const table = new RouteTable(door.routes)
  return (req, res, next) => {
    const match = table.find(req.method ?? 'GET', req.url ?? '/')
    if (match === undefined) return next()
    const { route, params } = match
    if (params === undefined) return send(req, res, next, door.refuse(route, malformedPath(), req.headers))
    const caller = Caller.of(req, res)
    door
      .answer(route, {
        params,
        path: mountedPath(req),
        query: queryOf(req.url ?? ''),
        headers: req.headers,
        body: bodyOf(req),
        signal: caller.signal,
        source: req,
      })
      .then((answer) => {
        if (isStreamed(answer)) return sendStream(res, answer).finally(() => caller.answered())
        caller.answered()
        return send(req, res, next, answer)
      })
      .catch(next)
  }
}

/** Express and connect take the path that a handler is mounted at off `url`. */
function mountedPath({ url = '', originalUrl = url }: IncomingMessage & { originalUrl?: string }): string {
  return pathOf(originalUrl)
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
  answer: WholeResponse | HandedOn,
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
