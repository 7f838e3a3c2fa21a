/**
 * The server of `bench/protocol.js`: a repository behind Fastify, and behind gRPC; and grpc-js alone, which answers with what
 * it is sent (`/bare/identity`) or with nothing (`/bare/means`). Argument: the repository's folder. Says its ports.
 */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import Fastify from 'fastify'
import { mlServing } from 'mlserving/fastify'
import { grpcServer } from 'mlserving/grpc'
import { listenFastify } from './listen.js'

const [repository = ''] = process.argv.slice(2)
const fastify = Fastify()
await fastify.register(mlServing, { repository })
await fastify.serving.ready()
const grpcPort = await grpcServer(fastify.serving, { port: 0 }).listen()

const bare = new Server({ 'grpc.max_receive_message_length': -1 })
const same = (/** @type {Buffer} */ bytes) => bytes
const method = {
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
}
bare.addService(
  { identity: { path: '/bare/identity', ...method }, means: { path: '/bare/means', ...method } },
  {
    identity: (/** @type {any} */ call, /** @type {any} */ answer) => answer(null, call.request),
    means: (/** @type {any} */ _, /** @type {any} */ answer) => answer(null, Buffer.alloc(0)),
  },
)
const barePort = await new Promise((resolve, reject) =>
  bare.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  ),
)
process.send?.({ port: await listenFastify(fastify), grpcPort, barePort })
