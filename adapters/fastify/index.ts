import type { Readable } from 'node:stream'
import type {
  FastifyError,
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  RegisterOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import { ServingError } from '../../src/errors.js'
import { notJson } from '../../src/http/body.js'
import { Door, type DoorOptions } from '../../src/http/door.js'
import type { HttpBody, HttpResponse } from '../../src/http/exchange.js'
import { routes, type Route } from '../../src/http/routes.js'
import type { AnyServing, CreateServingOptions } from '../../src/serving.js'

export type { DoorOptions }

declare module 'fastify' {
  interface FastifyInstance {
    /** The serving that `mlserving/fastify` was registered with. */
    serving: AnyServing
  }
}

export interface MlServingOptions extends CreateServingOptions, DoorOptions, RegisterOptions {
  /** A serving that is the caller's to close. Default: one of the plugin's own, of the options beside it. */
  readonly serving?: AnyServing
  /** Where the routes are mounted. Default: at the root. */
  readonly prefix?: string
}

async function plugin(
  fastify: FastifyInstance,
  { serving, prefix, logLevel, logSerializers, ...options }: MlServingOptions,
): Promise<void> {
  if (fastify.hasDecorator('serving')) {
    throw new ServingError(
      'INVALID_OPTIONS',
      'fastify.serving is taken: mlserving is registered once in a scope. Register it in sibling scopes to have two.',
    )
  }
  const door = Door.open(serving ?? ownServing(fastify, options), serving === undefined ? {} : options)
  fastify.decorate('serving', door.serving)
  if (door.ownsServing) fastify.addHook('onClose', () => door.serving.close())
  // fastify-plugin lifts this plugin into the host's scope and drops these: the routes have a scope of their own.
  await fastify.register(mountRoutes(door), {
    ...(prefix !== undefined && { prefix }),
    ...(logLevel !== undefined && { logLevel }),
    ...(logSerializers !== undefined && { logSerializers }),
  })
}

function ownServing(
  fastify: FastifyInstance,
  options: CreateServingOptions & DoorOptions,
): CreateServingOptions & DoorOptions {
  const isEmpty = options.repository === undefined && options.models === undefined
  return { logger: fastify.log, ...options, ...(isEmpty && { repository: './models' }) }
}

function mountRoutes(door: Door): FastifyPluginAsync {
  return async (scope) => {
    // Bodies are read by the core, so that every door accepts and refuses the same.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    for (const route of routes) {
      for (const url of ignoresTrailingSlash(scope) ? [route.path] : [route.path, `${route.path}/`]) {
        scope.route({
          method: route.method,
          url,
          exposeHeadRoute: route.method === 'GET',
          handler: (request, reply) => answer(door, route, request, reply),
          errorHandler: (error, request, reply) => void refuse(door, error, request, reply),
        })
      }
    }
    return Promise.resolve()
  }
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
  const hangUp = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) hangUp.abort()
  })
  const response = await door.answer(route, {
    params: request.params as Record<string, string>,
    headers: request.headers,
    body: bodyOf(request),
    signal: hangUp.signal,
  })
  return send(reply, response)
}

/** The stream that the last preParsing hook gave; what else lies there a hook of the host has parsed. */
function bodyOf({ body, raw }: FastifyRequest): HttpBody {
  if (body === undefined) return { stream: raw }
  const isStream = typeof body === 'object' && body !== null && 'pipe' in body
  return isStream ? { stream: body as Readable } : { parsed: body }
}

/** Fastify refuses a content type that is none before any parser is asked; all else is for the host's handler. */
function refuse(door: Door, error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error.code !== 'FST_ERR_CTP_INVALID_MEDIA_TYPE') throw error
  return send(reply, door.refuse(notJson(request.headers), request.headers))
}

function send(reply: FastifyReply, { status, headers, body }: HttpResponse): FastifyReply {
  return reply.code(status).headers(headers).send(body)
}

/**
 * The routes of a serving as a Fastify plugin: `fastify.register(mlServing, { prefix: '/ml' })`. Decorates the
 * instance with `serving`. What the plugin made it closes with Fastify.
 *
 * Fastify itself refuses a malformed path, and with 414 a model's name of more than 100 characters, unless its
 * `routerOptions.maxParamLength` says otherwise.
 */
export const mlServing = fp(plugin, { name: 'mlserving', fastify: '5.x' })

export default mlServing
