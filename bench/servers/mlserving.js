/** mlserving as a new user writes it: the model's file, and nothing tuned. */
import express from 'express'
import Fastify from 'fastify'
import { onnx } from 'mlserving'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'
import { listen, listenFastify } from './listen.js'

/** @typedef {import('../http-models.js').Prepared} Prepared */

/**
 * @param {Prepared} model
 * @param {{ cache?: true }} [more]
 */
const served = ({ file }, more) => ({
  model: onnx({ source: file, ...more }),
})

/**
 * @param {Prepared} model
 */
export async function mlservingFastify(model) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, { models: served(model) })
  await fastify.serving.ready()
  return listenFastify(fastify)
}

/**
 * @param {Prepared} model
 */
export async function mlservingExpress(model) {
  const handler = expressServing({ models: served(model) })
  await handler.serving.ready()
  return listen(express().use(handler))
}

/**
 * Takes a deadline in milliseconds from the header `x-timeout-ms`.
 * @param {Prepared} model
 */
export async function mlservingDeadline(model) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, {
    models: served(model),
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
 */
export async function mlservingCache(model) {
  const fastify = Fastify()
  await fastify.register(fastifyServing, { models: served(model, { cache: true }) })
  await fastify.serving.ready()
  return listenFastify(fastify)
}
