/** mlserving as a new user writes it: the model's file, and nothing tuned. */
import express from 'express'
import Fastify from 'fastify'
import { onnx } from 'mlserving'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'
import { listen, listenFastify } from './listen.js'

/** @typedef {import('../http-models.js').Prepared} Prepared */
/** @typedef {{ batching: boolean }} Options */

/**
 * @param {Prepared} model
 * @param {Options} options
 * @param {{ cache?: true }} [more]
 */
const served = ({ file }, { batching }, more) => ({
  model: onnx({ source: file, ...(batching && { batching: true }), ...more }),
})

/**
 * @param {Prepared} model
 * @param {Options} options
 */
export async function mlservingFastify(model, options) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, { models: served(model, options) })
  await fastify.serving.ready()
  return listenFastify(fastify)
}

/**
 * @param {Prepared} model
 * @param {Options} options
 */
export async function mlservingExpress(model, options) {
  const handler = expressServing({ models: served(model, options) })
  await handler.serving.ready()
  return listen(express().use(handler))
}

/**
 * Takes a deadline in milliseconds from the header `x-timeout-ms`.
 * @param {Prepared} model
 * @param {Options} options
 */
export async function mlservingDeadline(model, options) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, {
    models: served(model, options),
    context: (request) => {
      const timeoutMs = request.headers['x-timeout-ms']
      return timeoutMs === undefined ? {} : { timeoutMs: Number(timeoutMs) }
    },
  })
  await fastify.serving.ready()
  return listenFastify(fastify)
}

/**
 * @param {Prepared} model
 * @param {Options} options
 */
export async function mlservingCache(model, options) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, { models: served(model, options, { cache: true }) })
  await fastify.serving.ready()
  return listenFastify(fastify)
}
