/** The server of `bench/protocol.js`: a repository behind Fastify. Argument: its folder. Says its port. */
import Fastify from 'fastify'
import { mlServing } from 'mlserving/fastify'
import { listenFastify } from './listen.js'

const [repository = ''] = process.argv.slice(2)
const fastify = Fastify()
await fastify.register(mlServing, { repository })
await fastify.serving.ready()
process.send?.({ port: await listenFastify(fastify) })
