import {
  Server,
  ServerCredentials,
  type MethodDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { AdminAccess } from '../../src/http/admin-access.js'
import { ServingError } from '../../src/errors.js'
import type { AnyServing } from '../../src/serving.js'
import { inferenceMethods, inferenceService } from '../../src/v2/grpc-service.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { encode, type MessageType } from '../../src/v2/protobuf/message.js'
import { inferenceHandlers, type Handler } from './calls.js'
import { Health, healthMethods, healthService } from './health.js'
import type { GrpcOptions } from './options.js'
import { unary, type Given, type Host } from './unary.js'

/** A serving behind gRPC, on a port of its own. The serving stays the caller's to close. */
export class GrpcServer implements AsyncDisposable {
  readonly #server: Server
  readonly #health: Health
  readonly #options: GrpcOptions
  #listening: Promise<number> | undefined
  #closing: Promise<void> | undefined

  /** @param options that have been checked */
  constructor(
    readonly serving: AnyServing,
    options: GrpcOptions,
  ) {
    const isClosing = () => this.#closing !== undefined
    const host: Host = {
      serving,
      options,
      access: options.admin && new AdminAccess(options.admin),
      get isClosing() {
        return isClosing()
      },
    }
    this.#options = options
    this.#health = new Health(host)
    this.#server = new Server({
      'grpc.max_receive_message_length': options.maxMessageBytes ?? 8 * 1024 * 1024,
      'grpc.max_send_message_length': -1,
    })
    const handlers = Object.entries(inferenceHandlers) as [string, Handler<unknown, unknown>][]
    this.#server.addService(
      definitionOf(inferenceService, inferenceMethods),
      Object.fromEntries(handlers.map(([name, handler]) => [name, unary(host, handler)])),
    )
    const { check, watch } = this.#health
    const health: UntypedServiceImplementation = { Check: unary(host, check), Watch: watch }
    this.#server.addService(definitionOf(healthService, healthMethods, ['Watch']), health)
  }

  /**
   * Binds the port; a second call gives what the first did.
   * @returns the port, which is the one of the options but where that is 0
   * @throws where it can't be bound; ServingError CLOSED
   */
  listen(): Promise<number> {
    if (this.#closing !== undefined)
      return Promise.reject(new ServingError('CLOSED', 'the gRPC server is closed.'))
    return (this.#listening ??= this.#bind())
  }

  #bind(): Promise<number> {
    const {
      host = '127.0.0.1',
      port = 8001,
      credentials = ServerCredentials.createInsecure(),
    } = this.#options
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, bound) => {
        if (error === null) resolve(bound)
        else reject(error)
      })
    })
  }

  /**
   * Takes no more calls, says so to who watches its health, and waits for those under way; past `closeTimeoutMs` it ends
   * them. A second call joins the first.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    // Which it may be binding still.
    await this.#listening?.catch(() => {})
    this.#health.close()
    const { closeTimeoutMs = 30_000 } = this.#options
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#server.forceShutdown()
        resolve()
      }, closeTimeoutMs)
      this.#server.tryShutdown(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

interface Methods {
  readonly [name: string]: {
    readonly request: MessageType<unknown, unknown>
    readonly response: MessageType<unknown, unknown>
  }
}

/** A service as grpc-js takes it. @param streams the methods whose answers go on */
function definitionOf(
  service: string,
  methods: Methods,
  streams: readonly string[] = [],
): Record<string, MethodDefinition<unknown, unknown>> {
  const entries = Object.entries(methods).map(([name, { request, response }]) => [
    name,
    {
      path: `/${service}/${name}`,
      requestStream: false,
      responseStream: streams.includes(name),
      requestSerialize: (value: unknown) => encode(request, value),
      requestDeserialize: (bytes: Buffer) => read(request, bytes),
      responseSerialize: (value: unknown) => encode(response, value),
      responseDeserialize: (bytes: Buffer) => response.read(bytes),
    },
  ])
  return Object.fromEntries(entries) as Record<string, MethodDefinition<unknown, unknown>>
}

function read<R>(type: MessageType<R, unknown>, bytes: Buffer): Given<R> {
  try {
    return type.read(bytes)
  } catch (error) {
    if (error instanceof MalformedMessage) return error
    throw error
  }
}
