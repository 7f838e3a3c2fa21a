import { once } from 'node:events'

/** A body of 3x48x192 numbers is above what Express takes by default. */
export const bodyLimit = 4 * 1024 * 1024

/** @param {import('express').Express} app */
export async function listen(app) {
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return portOf(server)
}

/** @param {import('fastify').FastifyInstance} fastify */
export async function listenFastify(fastify) {
  await fastify.listen({ port: 0, host: '127.0.0.1' })
  return portOf(fastify.server)
}

/** @param {import('node:net').Server} server */
function portOf(server) {
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}
