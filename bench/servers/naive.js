/** What one writes first: the runtime with its own defaults, run in the route. */
import express from 'express'
import Fastify from 'fastify'
import { InferenceSession } from 'onnxruntime-node'
import { tensorOf } from '../tensor.js'
import { bodyLimit, listen, listenFastify } from './listen.js'

/** @typedef {import('../http-models.js').Prepared} Prepared */

/**
 * @param {Prepared} model
 * @returns {Promise<(body: Record<string, unknown>) => Promise<{ prediction: number[] }>>}
 */
async function predictor({ file, input, output }) {
  const session = await InferenceSession.create(file)
  return async (body) => {
    const outputs = await session.run({ [input.name]: tensorOf(input, [body[input.name]]) })
    return { prediction: Array.from(/** @type {Float32Array} */ (outputs[output]?.data)) }
  }
}

/** @param {Prepared} model */
export async function naiveFastify(model) {
  const predict = await predictor(model)
  const fastify = Fastify({ bodyLimit })
  fastify.get('/health', () => ({ status: 'healthy' }))
  fastify.post('/predict', async (request) => predict(/** @type {Record<string, unknown>} */ (request.body)))
  return listenFastify(fastify)
}

/** @param {Prepared} model */
export async function naiveExpress(model) {
  const predict = await predictor(model)
  const app = express().use(express.json({ limit: bodyLimit }))
  app.get('/health', (_request, response) => void response.json({ status: 'healthy' }))
  app.post('/predict', async (request, response) => void response.json(await predict(request.body)))
  return listen(app)
}
