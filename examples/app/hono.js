// A Hono app with models under /ml and a route of its own that asks one: node examples/app/hono.js
// #region app
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { mlServing } from 'mlserving/fetch'
import { moodOf } from './mood.js'
import { serving } from './serving.js'

const app = new Hono()
const ml = mlServing(serving, { prefix: '/ml', maxBodyBytes: 100_000 })
app.all('/ml/*', ({ req }) => ml(req.raw))

app.get('/mood/:text', async (c) => {
  const { signal } = c.req.raw
  return c.json({ mood: await moodOf(serving.model('sentiment'), c.req.param('text'), { signal }) })
})

await serving.ready()
const server = serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 8000) })
// #endregion

server.on('listening', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`http://127.0.0.1:${port}`)
})
process.once('SIGTERM', () => server.close(() => void serving.close()))
