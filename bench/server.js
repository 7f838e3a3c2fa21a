/** A server to measure. Arguments: which, and the model. Says its port; on `begin` and `end` it counts. */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import express from 'express'
import Fastify from 'fastify'
import { onnx } from 'mlserving'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'

const [kind = '', model = ''] = process.argv.slice(2)

/**
 * Each gives the port it listens on.
 * @type {Record<string, () => Promise<number>>}
 */
const servers = {
  /** What one writes first: the runtime with its own defaults, in the route. */
  naive: async () => {
    const { InferenceSession, Tensor } = await import('onnxruntime-node')
    const session = await InferenceSession.create(model)
    const fastify = Fastify()
    fastify.get('/health', () => ({ status: 'healthy' }))
    fastify.post('/predict', async (request) => {
      const { x } = /** @type {{ x: number[] }} */ (request.body)
      const { y } = await session.run({ x: new Tensor('float32', Float32Array.from(x), [1, 1, 8, 8]) })
      return { prediction: Array.from(/** @type {Float32Array} */ (y?.data)) }
    })
    return listen(fastify)
  },
  fastify: async () => {
    const fastify = Fastify()
    await fastify.register(fastifyServing, { models: { model: onnx({ source: model }) } })
    await fastify.serving.ready()
    return listen(fastify)
  },
  /** A session for each core, rather than all cores for one. */
  instances: async () => {
    const fastify = Fastify()
    const instances = availableParallelism()
    await fastify.register(fastifyServing, { models: { model: onnx({ source: model, instances }) } })
    await fastify.serving.ready()
    return listen(fastify)
  },
  express: async () => {
    const handler = expressServing({ models: { model: onnx({ source: model }) } })
    await handler.serving.ready()
    const server = express().use(handler).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return portOf(server)
  },
}

/** @param {import('fastify').FastifyInstance} fastify */
async function listen(fastify) {
  await fastify.listen({ port: 0, host: '127.0.0.1' })
  return portOf(fastify.server)
}

/** @param {import('node:net').Server} server */
function portOf(server) {
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}

process.env.ORT_DISABLE_TELEMETRY = '1'
const port = await servers[kind]?.()
const delay = monitorEventLoopDelay({ resolution: 10 })
let cpu = process.cpuUsage()

process.on('message', (word) => {
  if (word === 'begin') {
    delay.reset()
    delay.enable()
    cpu = process.cpuUsage()
    process.send?.('begun')
  } else {
    const { user, system } = process.cpuUsage(cpu)
    process.send?.({ eventLoopP99Ms: delay.percentile(99) / 1e6, cpuMs: (user + system) / 1e3 })
  }
})
process.send?.({ port })
