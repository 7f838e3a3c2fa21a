/** The example models behind Express and Fastify in one process; tells its memory, and switches versions. */
import { once } from 'node:events'
import express from 'express'
import Fastify from 'fastify'
import { createServing, onnx } from 'mlserving'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'

const serving = createServing({
  repository: './examples/models',
  models: {
    sentiment: onnx({
      source: './examples/models/sentiment',
      task: { type: 'classification', output: 'probabilities', classes: ['negative', 'positive'] },
      cache: { ttlMs: 5000, maxEntries: 500 },
    }),
  },
  logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
})
await serving.ready()
const app = express().use(expressServing(serving)).listen(0, '127.0.0.1')
await once(app, 'listening')
const fastify = Fastify()
await fastify.register(fastifyServing, { serving })
await fastify.listen({ port: 0, host: '127.0.0.1' })

/** @param {import('node:net').AddressInfo | string | null} address */
const portOf = (address) => /** @type {import('node:net').AddressInfo} */ (address).port

let version = '2.0'
const switching = setInterval(() => {
  version = version === '2.0' ? '1.0' : '2.0'
  serving.models.switchVersion('sentiment', version).catch((error) => {
    throw error
  })
}, 1000)

const mb = (/** @type {number} */ bytes) => Math.round(bytes / 1e6)
process.on('message', async (word) => {
  if (word === 'memory') {
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
    process.send?.({ rssMb: mb(rss), heapMb: mb(heapUsed), arrayBuffersMb: mb(arrayBuffers) })
    return
  }
  clearInterval(switching)
  app.close()
  app.closeAllConnections()
  await fastify.close()
  await serving.close()
  process.disconnect()
})
process.send?.({ express: portOf(app.address()), fastify: portOf(fastify.server.address()) })
