import type { RequestContext } from '../../src/http/door-options.js'
import { ServingError } from '../../src/errors.js'
import { checkFields, show } from '../../src/options.js'
import { isServing, type AnyServing } from '../../src/serving.js'
import { grpcFields, type Call, type GrpcOptions } from './options.js'
import { GrpcServer } from './server.js'

export type { Call, GrpcOptions, GrpcServer, RequestContext }

/**
 * A server of the Open Inference Protocol over gRPC, and of the standard health service, for what a serving serves:
 * `await grpcServer(serving, { port: 8001 }).listen()`, beside the app's HTTP server.
 *
 * @param serving which stays the caller's to close, after the server
 * @throws ServingError INVALID_OPTIONS
 */
export function grpcServer(serving: AnyServing, options: GrpcOptions = {}): GrpcServer {
  if (!isServing(serving))
    throw new ServingError('INVALID_OPTIONS', `grpcServer() takes a serving; got ${show(serving)}.`)
  checkFields<GrpcOptions>(options, grpcFields, 'grpcServer()', 'INVALID_OPTIONS')
  return new GrpcServer(serving, options)
}

export default grpcServer
