import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Door, type DoorOptions } from '../../src/http/door.js'
import { routes, type Route } from '../../src/http/routes.js'
import type { AnyServing, CreateServingOptions } from '../../src/serving.js'

export type { DoorOptions }

declare module 'fastify' {
  interface FastifyInstance {
    /** The serving that `mlserving/fastify` was registered with. */
    serving: AnyServing
  }
}

export interface MlServingOptions extends CreateServingOptions, DoorOptions {
  /** A serving that is the caller's to close. Default: one of the plugin's own, of the options beside it. */
  readonly serving?: AnyServing
  /** Where the routes are mounted. Default: at the root. */
  readonly prefix?: string
}

async function plugin(
  fastify: FastifyInstance,
  { serving, prefix, ...rest }: MlServingOptions,
): Promise<void> {
  const logger = rest.logger ?? fastify.log
  const ownsOptions = Object.keys(rest).length > 0
  const door =
    serving === undefined
      ? Door.open({
          ...((rest.repository ?? rest.models) ? {} : { repository: './models' }),
          ...rest,
          logger,
        })
      : Door.open(serving, ownsOptions ? rest : {})
  fastify.decorate('serving', door.serving)
  if (door.ownsServing) fastify.addHook('onClose', () => door.serving.close())
  // fastify-plugin lifts this plugin into the host's scope and drops its prefix: the routes have a scope of their own.
  await fastify.register(mountRoutes(door), prefix === undefined ? {} : { prefix })
}

function mountRoutes(door: Door): FastifyPluginAsync {
  return async (scope) => {
    // Bodies are read by the core, so that every door accepts and refuses the same.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    for (const route of routes) {
      scope.route({
        method: route.method,
        url: route.path,
        handler: (request, reply) => answer(door, route, request, reply),
      })
    }
    return Promise.resolve()
  }
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
    body: { stream: request.raw },
    signal: hangUp.signal,
  })
  if (!request.raw.complete) void reply.header('connection', 'close')
  return reply.code(response.status).headers(response.headers).send(response.body)
}

/**
 * The routes of a serving as a Fastify plugin: `fastify.register(mlServing, { prefix: '/ml' })`. Decorates the
 * instance with `serving`. What the plugin made it closes with Fastify.
 */
export const mlServing = fp(plugin, { name: 'mlserving', fastify: '5.x' })

export default mlServing
