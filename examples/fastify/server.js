// Serves every model under examples/models from a Fastify app, below /ml: npm run example:fastify
// #region readme
import Fastify from 'fastify'
import { mlServing } from 'mlserving/fastify'

const fastify = Fastify()
await fastify.register(mlServing, { repository: './examples/models', prefix: '/ml' })

await fastify.listen({ port: Number(process.env.PORT ?? 8000) })
// #endregion

// #region shutdown
const drainMs = Number(process.env.DRAIN_MS ?? 0)

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    // From now on /ready says no. Give the balancer the time that it takes to notice; requests are answered meanwhile.
    void fastify.serving.drain()
    setTimeout(() => {
      // No new connections; then the requests under way, then the models they need.
      void fastify.close()
      // A client that sends half a request, or nothing at all, does not hold up the end.
      setTimeout(() => fastify.server.closeAllConnections(), 5000).unref()
    }, drainMs)
  })
}
// #endregion

await fastify.serving.ready()
const { port } = /** @type {import('node:net').AddressInfo} */ (fastify.server.address())
const url = `http://127.0.0.1:${port}/ml`
console.log(`Serving ${fastify.serving.models.names().join(', ')} on ${url}. Try:\n`)
console.log(
  `curl ${url}/models/sentiment/predict -H 'content-type: application/json' -d '{"text": "I love it"}'\n`,
)
