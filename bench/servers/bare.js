/** A route that parses the body and answers as many numbers as the model would: the limit of its framework. */
import express from 'express'
import Fastify from 'fastify'
import { bodyLimit, listen, listenFastify } from './listen.js'

/** @typedef {import('../http-models.js').Prepared} Prepared */

/** @param {Prepared} model */
export async function bareFastify({ expected }) {
  const answer = { prediction: expected[0] }
  const fastify = Fastify({ bodyLimit })
  fastify.get('/health', () => ({ status: 'healthy' }))
  fastify.post('/predict', async () => answer)
  return listenFastify(fastify)
}

/** @param {Prepared} model */
export async function bareExpress({ expected }) {
  const answer = { prediction: expected[0] }
  const app = express().use(express.json({ limit: bodyLimit }))
  app.get('/health', (_request, response) => void response.json({ status: 'healthy' }))
  app.post('/predict', (_request, response) => void response.json(answer))
  return listen(app)
}
