// A Fastify app with models under /ml and a route of its own that asks one: node examples/app/fastify.js
// #region app
import Fastify from 'fastify'
import { mlServing } from 'mlserving/fastify'
import { moodOf } from './mood.js'
import { serving } from './serving.js'

const fastify = Fastify()
await fastify.register(mlServing, { serving, prefix: '/ml', maxBodyBytes: 100_000 })
fastify.addHook('onClose', () => serving.close())

fastify.get('/mood/:text', async (request, reply) => {
  const hangUp = new AbortController()
  reply.raw.once('close', () => hangUp.abort())
  const { text } = /** @type {{ text: string }} */ (request.params)
  return { mood: await moodOf(serving.model('sentiment'), text, { signal: hangUp.signal }) }
})

await serving.ready()
await fastify.listen({ port: Number(process.env.PORT ?? 8000) })
// #endregion

const { port } = /** @type {import('node:net').AddressInfo} */ (fastify.server.address())
console.log(`http://127.0.0.1:${port}`)
process.once('SIGTERM', () => void fastify.close())
