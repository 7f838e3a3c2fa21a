import type { FastifyInstance, FastifyRequest, RegisterOptions } from 'fastify'
import fp from 'fastify-plugin'
import { ServingError } from '../../src/errors.js'
import { Door } from '../../src/http/door.js'
import type { DoorOptions as CommonOptions, RequestContext } from '../../src/http/door-options.js'
import type { CreateServingOptions } from '../../src/serving-options.js'
import type { AnyServing } from '../../src/serving.js'
import { mountRoutes } from './routes.js'

export type { RequestContext }

export type DoorOptions = CommonOptions<FastifyRequest>

declare module 'fastify' {
  interface FastifyInstance {
    /** The serving that `mlserving/fastify` was registered with. */
    serving: AnyServing
  }
}

export interface MlServingOptions extends CreateServingOptions, DoorOptions, RegisterOptions {
  /** A serving that is the caller's to close. Default: one of the plugin's own, of the options
   * beside it; without any, the process's default serving, of `./models`. */
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
  const door = serving === undefined ? Door.open(options, {}, fastify.log) : Door.open(serving, options)
  const taken: unknown = fastify.hasDecorator(decorator) ? fastify.getDecorator(decorator) : undefined
  if (taken !== undefined && taken !== door.serving) {
    await door.close()
    throw new ServingError(
      'INVALID_OPTIONS',
      `fastify.${decorator} is taken: to have two servings, register them in sibling scopes, or with another \`decorator\`.`,
    )
  }
  if (taken === undefined) fastify.decorate(decorator, door.serving)
  // Unready from the first moment of the close on. Fastify itself waits for the requests under way, and only then says
  // that it has closed: what takes longer than a drain may, such as a stream without an end, is cut off before.
  let overdue: NodeJS.Timeout | undefined
  fastify.addHook('preClose', async () => {
    door.drain()
    overdue = setTimeout(() => {
      door.close().catch(() => {}) // onClose tells it
    }, options.drainTimeoutMs ?? 30_000).unref()
  })
  fastify.addHook('onClose', () => {
    clearTimeout(overdue)
    return door.close()
  })
  // fastify-plugin lifts this plugin into the host's scope and drops these: the routes have a scope of their own.
  await fastify.register(mountRoutes(door), {
    ...(prefix !== undefined && { prefix }),
    ...(logLevel !== undefined && { logLevel }),
    ...(logSerializers !== undefined && { logSerializers }),
  })
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
