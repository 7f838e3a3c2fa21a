import { Readable } from 'node:stream'
import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
} from 'fastify'
import { unsupportedType } from '../../src/http/body.js'
import type { Door } from '../../src/http/door.js'
import {
  isStreamed,
  queryOf,
  type HandedOn,
  type HttpBody,
  type StreamedResponse,
  type WholeResponse,
} from '../../src/http/exchange.js'
import { readableOf } from '../../src/http/node-stream.js'
import { Caller } from '../../src/http/caller.js'
import { pathOf } from '../../src/http/route-table.js'
import type { Route } from '../../src/http/routes.js'

/** A path is documented once: what @fastify/swagger reads of its twin with a slash at the end. */
const undocumented: FastifySchema & { readonly hide: boolean } = { hide: true }

/** A plugin with the routes of a door. */
export function mountRoutes(door: Door): FastifyPluginAsync {
  return async (scope) => {
    // Bodies are read and checked by the core, so that every door accepts and refuses the same: the schemas are for
    // documents alone.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.setValidatorCompiler(() => () => true)
    scope.setSerializerCompiler(() => serialize)
    for (const route of door.routes) {
      for (const url of ignoresTrailingSlash(scope) ? [route.path] : [route.path, `${route.path}/`]) {
        scope.route({
          method: route.method,
          url,
          schema: url === route.path ? route.schema : undocumented,
          exposeHeadRoute: route.method === 'GET',
          handler: (request, reply) => answer(door, route, request, reply),
          errorHandler: (error: unknown, request, reply) => void refuse(door, route, error, request, reply),
        })
      }
    }
    return Promise.resolve()
  }
}

/** Whether a slash at the path's end was taken for a name: behind the other doors it is none. */
function endsWithNothing({ path }: Route, params: Readonly<Record<string, string>>): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return name.startsWith(':') && params[name.slice(1)] === ''
}

/** For what hooks of the host answer. Fastify's own error handler gives an error whose properties JSON would skip. */
function serialize(data: unknown): string {
  if (!(data instanceof Error)) return JSON.stringify(data)
  const { statusCode, code, error, message } = data as Error &
    Record<'statusCode' | 'code' | 'error', unknown>
  return JSON.stringify({ statusCode, code, error, message })
}

function ignoresTrailingSlash({ initialConfig }: FastifyInstance): boolean {
  const { ignoreTrailingSlash, routerOptions } = initialConfig
  return ignoreTrailingSlash === true || routerOptions?.ignoreTrailingSlash === true
}

async function answer(
  door: Door,
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const params = request.params as Record<string, string>
  if (endsWithNothing(route, params)) {
    reply.callNotFound()
    return reply
  }
  const caller = Caller.of(request.raw, reply.raw)
  const given = await door.answer(route, {
    params,
    path: pathOf(request.originalUrl),
    query: queryOf(request.url),
    headers: request.headers,
    body: bodyOf(request),
    signal: caller.signal,
    source: request,
  })
  if (isStreamed(given)) return stream(reply, given, caller)
  caller.answered()
  return send(reply, given)
}

async function stream(
  reply: FastifyReply,
  { status, headers, body }: StreamedResponse,
  caller: Caller,
): Promise<FastifyReply> {
  const readable = readableOf(body).once('close', () => caller.answered())
  if (!reply.raw.destroyed) return reply.headers(headers).code(status).send(readable)
  await body.return()
  readable.destroy()
  return reply // the caller is gone
}

/** The stream that the last preParsing hook gave; what else lies there a hook of the host has parsed. */
function bodyOf({ body, raw }: FastifyRequest): HttpBody {
  if (body === undefined) return { stream: raw }
  return body instanceof Readable ? { stream: body } : { parsed: body }
}

/** Fastify refuses a content type that is none before any parser is asked; all else is for the host's handler. */
function refuse(
  door: Door,
  route: Route,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if ((error as { code?: unknown } | undefined)?.code !== 'FST_ERR_CTP_INVALID_MEDIA_TYPE') throw error
  return send(reply, door.refuse(route, unsupportedType(request.headers), request.headers))
}

function send(reply: FastifyReply, given: WholeResponse | HandedOn): FastifyReply {
  reply.headers(given.headers)
  if (!('error' in given)) return reply.code(given.status).send(given.body)
  if (reply.raw.destroyed) return reply // the caller is gone
  throw given.error
}
