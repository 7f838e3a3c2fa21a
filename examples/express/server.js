// Serves every model under examples/models from an Express app: npm run example:express
// #region readme
import express from 'express'
import { mlServing } from 'mlserving/express'

const app = express()
const ml = mlServing('./examples/models')
app.use(ml)

const server = app.listen(process.env.PORT ?? 8000)
// #endregion

server.on('listening', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const url = `http://127.0.0.1:${port}`
  ml.serving.ready().then(() => {
    console.log(`Serving ${ml.serving.models.names().join(', ')} on ${url}. Try:\n`)
    console.log(
      `curl ${url}/models/sentiment/predict -H 'content-type: application/json' -d '{"text": "I love it"}'\n`,
    )
  }, console.error)
})

// #region shutdown
const drainMs = Number(process.env.DRAIN_MS ?? 0)

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    // From now on /ready says no. Give the balancer the time that it takes to notice; requests are answered meanwhile.
    void ml.serving.drain()
    setTimeout(() => {
      // No new connections; then the requests under way, then the models they need.
      server.close(() => void ml.close())
      server.closeIdleConnections()
      // A client that sends half a request, or nothing at all, does not hold up the end.
      setTimeout(() => server.closeAllConnections(), 5000).unref()
    }, drainMs)
  })
}
// #endregion
