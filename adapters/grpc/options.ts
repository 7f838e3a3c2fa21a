import type { ServerCredentials, ServerOptions, ServerUnaryCall } from '@grpc/grpc-js'
import { adminOption, type AdminOptions } from '../../src/http/admin-access.js'
import type { RequestContext } from '../../src/http/door-options.js'
import { func, integer, isPlainObject, provided, text, type Fields } from '../../src/options.js'

/** A call as the host's own functions are given it: its metadata, its peer, its path. */
export type Call = Pick<
  ServerUnaryCall<unknown, unknown>,
  'metadata' | 'getPeer' | 'getPath' | 'getHost' | 'getDeadline' | 'getAuthContext'
>

export interface GrpcOptions {
  /** Where it listens: `'0.0.0.0'` for all who reach the machine. Default: `'127.0.0.1'`. */
  readonly host?: string
  /** 0 takes one that is free. Default: 8001. */
  readonly port?: number
  /** grpc-js's `ServerCredentials`, of TLS for instance. Default: none, in plain text. */
  readonly credentials?: ServerCredentials
  /** The largest message that is read, in bytes, inflated. Default: 8 MiB. */
  readonly maxMessageBytes?: number
  /**
   * grpc-js's own options of a server: how old a connection becomes, how many calls it has at once, how often it is asked
   * whether it lives. Default: grpc-js's, but that a connection is asked every 2 minutes.
   */
  readonly channelOptions?: ServerOptions
  /** How long `close` waits for calls under way before it ends them, in milliseconds. Default: 30,000. */
  readonly closeTimeoutMs?: number
  /** What ServerMetadata calls the server. Default: `'mlserving'`. */
  readonly serverName?: string
  /**
   * Says who is asking, before an inference. What it throws ends the call: a gRPC status (`{ code, details }`) as it is. A
   * method, so that a type of the host's own fits. Default: nobody in particular.
   */
  context?(call: Call): RequestContext | undefined | Promise<RequestContext | undefined>
  /** Who may load and unload models. Default: nobody. */
  readonly admin?: AdminOptions<Call>
}

export const grpcFields: Fields<GrpcOptions> = {
  host: text,
  port: integer(0, 65_535),
  // Not by its class: the host may have another copy of grpc-js.
  credentials: provided(
    "grpc-js's ServerCredentials",
    (value) => isPlainObject(value) && '_isSecure' in value,
  ),
  maxMessageBytes: integer(1, 2 ** 31 - 1),
  channelOptions: provided("an object of grpc-js's server options", isPlainObject),
  closeTimeoutMs: integer(0, 2 ** 31 - 1),
  serverName: text,
  context: func(),
  admin: adminOption,
}
