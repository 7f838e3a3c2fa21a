import type { Readable } from 'node:stream'
import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  RegisterOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import { ServingError } from '../../src/errors.js'
import { unsupportedType } from '../../src/http/body.js'
import { Door } from '../../src/http/door.js'
import type { DoorOptions as CommonOptions, RequestContext } from '../../src/http/door-options.js'
import { queryOf, type HandedOn, type HttpBody, type HttpResponse } from '../../src/http/exchange.js'
import type { Route } from '../../src/http/routes.js'
import type { AnyServing, CreateServingOptions } from '../../src/serving.js'

export type { RequestContext }

export type DoorOptions = CommonOptions<FastifyRequest>

declare module 'fastify' {
  interface FastifyInstance {
    /** The serving that `mlserving/fastify` was registered with. */
    serving: AnyServing
  }
}

export interface MlServingOptions extends CreateServingOptions, DoorOptions, RegisterOptions {
  /** A serving that is the caller's to close. Default: one of the plugin's own, of the options beside it. */
  readonly serving?: AnyServing
  /** The name under which the instance has the serving. Default: `'serving'`. */
  readonly decorator?: string
  /** Where the routes are mounted. Default: at the root. */
  readonly prefix?: string
}

async function plugin(
  fastify: FastifyInstance,
  { serving, decorator = 'serving', prefix, logLevel, logSerializers, ...options }: MlServingOptions,
): Promise<void> {
  const taken: unknown = fastify.hasDecorator(decorator) ? fastify.getDecorator(decorator) : undefined
  if (taken !== undefined && taken !== serving) {
    throw new ServingError(
      'INVALID_OPTIONS',
      `fastify.${decorator} is taken: to have two servings, register them in sibling scopes, or with another \`decorator\`.`,
    )
  }
  const door = Door.open(serving ?? ownServing(fastify, options), serving === undefined ? {} : options)
  if (taken === undefined) fastify.decorate(decorator, door.serving)
  // Draining: once a serving has `drain()`, `fastify.addHook('preClose', () => door.serving.drain())` stands here.
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
    // Bodies are read and checked by the core, so that every door accepts and refuses the same: the schemas are for
    // documents alone.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.setValidatorCompiler(() => () => true)
    scope.setSerializerCompiler(() => (data) => JSON.stringify(data))
    for (const route of door.routes) {
      for (const url of ignoresTrailingSlash(scope) ? [route.path] : [route.path, `${route.path}/`]) {
        scope.route({
          method: route.method,
          url,
          // `hide` is for @fastify/swagger: a path is documented once.
          schema: (url === route.path ? route.schema : { hide: true }) as FastifySchema,
          exposeHeadRoute: route.method === 'GET',
          handler: (request, reply) => answer(door, route, request, reply),
          errorHandler: (error: unknown, request, reply) => void refuse(door, error, request, reply),
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
  const given = await door.answer(route, {
    params: request.params as Record<string, string>,
    query: queryOf(request.url),
    headers: request.headers,
    body: bodyOf(request),
    signal: hangUp.signal,
    source: request,
  })
  return send(reply, given)
}

/** The stream that the last preParsing hook gave; what else lies there a hook of the host has parsed. */
function bodyOf({ body, raw }: FastifyRequest): HttpBody {
  if (body === undefined) return { stream: raw }
  const isStream = typeof body === 'object' && body !== null && 'pipe' in body
  return isStream ? { stream: body as Readable } : { parsed: body }
}

/** Fastify refuses a content type that is none before any parser is asked; all else is for the host's handler. */
function refuse(door: Door, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  if (code !== 'FST_ERR_CTP_INVALID_MEDIA_TYPE') throw error
  return send(reply, door.refuse(unsupportedType(request.headers), request.headers))
}

function send(reply: FastifyReply, given: HttpResponse | HandedOn): FastifyReply {
  reply.headers(given.headers)
  // An error for the host's handler, unless the caller is gone.
  if (!('error' in given)) return reply.code(given.status).send(given.body)
  if (reply.raw.destroyed) return reply
  throw given.error
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
