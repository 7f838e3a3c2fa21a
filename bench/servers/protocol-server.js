/** The server of `bench/protocol.js`: a repository behind Fastify, and behind gRPC. Argument: its folder. Says its ports. */
import Fastify from 'fastify'
import { mlServing } from 'mlserving/fastify'
import { grpcServer } from 'mlserving/grpc'
import { listenFastify } from './listen.js'

const [repository = ''] = process.argv.slice(2)
const fastify = Fastify()
await fastify.register(mlServing, { repository })
await fastify.serving.ready()
const grpcPort = await grpcServer(fastify.serving, { port: 0 }).listen()
process.send?.({ port: await listenFastify(fastify), grpcPort })
