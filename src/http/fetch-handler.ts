import { Readable } from 'node:stream'
import { ServingError } from '../errors.js'
import { func, provided, type Fields } from '../options.js'
import type { Door } from './door.js'
import { isStreamed, type BodyStream, type HandedOn, type HttpResponse, type UnreadBody } from './exchange.js'
import { malformedPath, RouteTable } from './route-table.js'

/** A handler of the web's own requests, as Next.js, Hono, Bun, Deno and wrappers of Lambda call it. */
export type FetchHandler = (request: Request) => Promise<Response>

export interface FetchHandlerOptions {
  /** The path that the routes lie below, such as `/api/ml`. Default: none, they lie at the root. */
  readonly prefix?: string
  /** Answers what is none of the routes. Default: 404, as problem details with the code ROUTE_NOT_FOUND. */
  readonly notFound?: (request: Request) => Response | Promise<Response>
}

export const fetchHandlerFields: Fields<FetchHandlerOptions> = {
  prefix: provided('a path that begins with a slash', (value) => {
    return typeof value === 'string' && /^\/[^?#]*$/.test(value)
  }),
  notFound: func(),
}

/** Serves the routes of a door. Rejects with what the door hands on to its host. */
export function fetchHandler(door: Door, options: FetchHandlerOptions = {}): FetchHandler {
  const { prefix = '' } = options
  const table = new RouteTable(door.routes)
  return async (request) => {
    const { pathname, search } = new URL(request.url)
    const match = table.find(request.method, below(prefix.replace(/\/$/, ''), pathname))
    const headers = Object.fromEntries(request.headers)
    if (match === undefined) {
      return options.notFound?.(request) ?? respond(request, door.notFound(request.method, pathname, headers))
    }
    const { route, params } = match
    if (params === undefined) return respond(request, door.refuse(route, malformedPath(), headers))
    const answer = await door.answer(route, {
      params,
      path: pathname,
      query: search.slice(1),
      headers,
      body: new RequestBody(request),
      signal: request.signal,
      source: request,
    })
    return respond(request, answer)
  }
}

/** What of a path comes after a prefix of whole segments; nothing where it has another. */
function below(prefix: string, path: string): string {
  if (!path.startsWith(prefix)) return ''
  const rest = path.slice(prefix.length)
  return rest.startsWith('/') ? rest : ''
}

/** Until it is read the request is still the host's, to clone for instance. */
class RequestBody implements UnreadBody {
  constructor(private readonly request: Request) {}

  /** @throws ServingError INVALID_REQUEST */
  get stream(): Readable {
    const { body, bodyUsed } = this.request
    if (body === null) return Readable.from([])
    if (bodyUsed || body.locked) {
      throw new ServingError(
        'INVALID_REQUEST',
        "the app has read the request's body already: it must hand over a clone.",
      )
    }
    return Readable.fromWeb(body)
  }
}

function respond(request: Request, answer: HttpResponse | HandedOn): Response {
  if ('error' in answer) {
    // Nobody is there to be told.
    if (request.signal.aborted) return new Response(null, { status: 499, headers: answer.headers })
    throw answer.error
  }
  if (isStreamed(answer)) {
    const { status, headers, body } = answer
    return new Response(readableStreamOf(body), { status, headers })
  }
  const { status, headers, body } = answer
  return new Response(request.method === 'HEAD' ? null : body, {
    status,
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
  })
}

/** The same as a stream of the web's, which asks for a piece when it is read. */
function readableStreamOf(body: BodyStream): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream(
    {
      async pull(controller) {
        const { value, done } = await body.next()
        if (done === true) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
      async cancel() {
        await body.return()
      },
    },
    { highWaterMark: 0 },
  )
}
