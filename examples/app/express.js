// An Express app with models under /ml and a route of its own that asks one: node examples/app/express.js
// #region app
import express from 'express'
import { mlServing } from 'mlserving/express'
import { moodOf } from './mood.js'
import { serving } from './serving.js'

const app = express()
app.use('/ml', mlServing(serving, { maxBodyBytes: 100_000 }))

app.get('/mood/:text', async (req, res) => {
  const hangUp = new AbortController()
  res.once('close', () => hangUp.abort())
  const { text } = req.params
  res.json({ mood: await moodOf(serving.model('sentiment'), text, { signal: hangUp.signal }) })
})

await serving.ready()
const server = app.listen(Number(process.env.PORT ?? 8000))
// #endregion

server.on('listening', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`http://127.0.0.1:${port}`)
})
process.once('SIGTERM', () => server.close(() => void serving.close()))
