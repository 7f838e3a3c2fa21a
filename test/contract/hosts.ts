import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import express4 from 'express4'
import fastify from 'fastify'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'
import { mlServing as fetchServing } from 'mlserving/fetch'
import type { DoorOptions } from '../../src/http/door-options.js'
import type { AnyServing } from '../../src/serving.js'

export interface Mounting extends DoorOptions<unknown> {
  /** Where the host mounts the routes. Default: at its root. */
  readonly prefix?: string
  /** Where the same serving is mounted as well. */
  readonly also?: readonly Mounting[]
}

export interface RunningHost extends AsyncDisposable {
  readonly origin: string
}

/**
 * A framework that a serving is mounted in. Its app has a route of its own, GET /own, a 404 and an error handler of
 * its own.
 */
export interface Host {
  readonly name: string
  /** Whether `.` and `..` in a path are gone before a handler sees it, as the URL of a Request has none. */
  readonly resolvesDots?: boolean
  readonly start: (serving: AnyServing, mounting?: Mounting) => Promise<RunningHost>
}

export const ownAnswer = "the app's own page"
export const ownNotFound = 'the app has no such page'

/** A header of the framework's own request. */
export function headerOf(request: unknown, name: string): string | undefined {
  const { headers } = request as { headers: Headers | Readonly<Record<string, string>> }
  return headers instanceof Headers ? (headers.get(name) ?? undefined) : headers[name]
}

/** Whether a path has a segment that is resolved where {@link Host.resolvesDots} says so. */
export function hasDots(path: string): boolean {
  return path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment))
}

/** What the app's own error handler answers. */
function ownError(error: unknown): { status: number; body: object } {
  const { status = 500, code, message } = error as { status?: number; code?: string; message?: string }
  return { status, body: { handler: 'own', code, message } }
}

/** Every adapter passes the same suite. */
export const hosts: readonly Host[] = [
  { name: 'Express 5', start: (serving, mounting) => startExpress(express, serving, mounting) },
  { name: 'Express 4', start: (serving, mounting) => startExpress(express4, serving, mounting) },
  { name: 'Fastify 5', start: startFastify },
  { name: 'fetch, in Hono', start: startHono, resolvesDots: true },
]

async function startExpress(
  framework: typeof express,
  serving: AnyServing,
  mounting: Mounting = {},
): Promise<RunningHost> {
  const app = framework()
  for (const { prefix = '/', ...door } of mountings(mounting)) app.use(prefix, expressServing(serving, door))
  app.get('/own', (_req, res) => void res.send(ownAnswer))
  app.use((_req, res) => void res.status(404).send(ownNotFound))
  const onError: ErrorRequestHandler = (error, _req, res, _next) => {
    const { status, body } = ownError(error)
    res.status(status).json(body)
  }
  app.use(onError)
  return listen(createServer(app))
}

async function startFastify(serving: AnyServing, mounting: Mounting = {}): Promise<RunningHost> {
  // Fastify's own limit on parameters is below that of a model's name.
  const app = fastify({ routerOptions: { maxParamLength: 1000 } })
  // Routes have the error handler that there is when they are registered.
  app.setErrorHandler((error, _request, reply) => {
    const { status, body } = ownError(error)
    return reply.code(status).send(body)
  })
  for (const options of mountings(mounting)) await app.register(fastifyServing, { serving, ...options })
  app.get('/own', () => ownAnswer)
  app.setNotFoundHandler((_request, reply) => void reply.code(404).send(ownNotFound))
  await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    origin: originOf(app.server),
    [Symbol.asyncDispose]: async () => {
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

async function startHono(serving: AnyServing, mounting: Mounting = {}): Promise<RunningHost> {
  const app = new Hono()
  app.get('/own', (c) => c.text(ownAnswer))
  const passedOn = new Response()
  for (const options of mountings(mounting)) {
    const handler = fetchServing(serving, { ...options, notFound: () => passedOn })
    app.use(async ({ req }, next) => {
      const answer = await handler(req.raw)
      return answer === passedOn ? next() : answer
    })
  }
  app.notFound((c) => c.text(ownNotFound, 404))
  app.onError((error, c) => {
    const { status, body } = ownError(error)
    c.header('x-request-id', c.req.header('x-request-id'))
    return c.json(body, status as ContentfulStatusCode)
  })
  return listen(createServer((req, res) => void getRequestListener(app.fetch)(req, res)))
}

function mountings({ also = [], ...first }: Mounting): Mounting[] {
  return [first, ...also]
}

/** Listens on a free port. */
export async function listen(server: Server): Promise<RunningHost> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: originOf(server),
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
