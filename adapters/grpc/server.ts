import { Server, ServerCredentials, type MethodDefinition } from '@grpc/grpc-js'
import { AdminAccess } from '../../src/http/admin-access.js'
import { ServingError } from '../../src/errors.js'
import type { AnyServing } from '../../src/serving.js'
import { inferenceMethods, inferenceService, inferenceStreams } from '../../src/v2/grpc-service.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { encode, type MessageType } from '../../src/v2/protobuf/message.js'
import { CallsUnderWay } from './calls-under-way.js'
import { inferenceHandlers, type Handler } from './calls.js'
import { Health, healthMethods, healthService, healthStreams } from './health.js'
import { InferStreams } from './infer-streams.js'
import type { GrpcOptions } from './options.js'
import { unary, type Given, type Host } from './unary.js'

/** A serving behind gRPC, on a port of its own. The serving stays the caller's to close. */
export class GrpcServer implements AsyncDisposable {
  readonly #server: Server
  readonly #health: Health
  readonly #inferStreams: InferStreams
  readonly #callsUnderWay = new CallsUnderWay()
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
    this.#inferStreams = new InferStreams(host)
    const { channelOptions, maxMessageBytes = 8 * 1024 * 1024 } = options
    this.#server = new Server({
      // Or who watches a server from a machine that is gone would be held for ever.
      'grpc.keepalive_time_ms': 120_000,
      'grpc.max_send_message_length': -1,
      ...channelOptions,
      'grpc.max_receive_message_length': maxMessageBytes,
      interceptors: [this.#callsUnderWay.interceptor, ...(channelOptions?.interceptors ?? [])],
    })
    const handlers = Object.entries(inferenceHandlers) as [string, Handler<unknown, unknown>][]
    const calls = handlers.map(([name, handler]) => [name, unary(host, handler)] as const)
    this.#server.addService(
      {
        ...definitionOf(inferenceService, inferenceMethods),
        ...definitionOf(inferenceService, inferenceStreams, { requestStream: true, responseStream: true }),
      },
      { ...Object.fromEntries(calls), ModelStreamInfer: this.#inferStreams.handler },
    )
    const { check, list, watch } = this.#health
    this.#server.addService(
      {
        ...definitionOf(healthService, healthMethods),
        ...definitionOf(healthService, healthStreams, { requestStream: false, responseStream: true }),
      },
      { Check: unary(host, check), List: unary(host, list), Watch: watch },
    )
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
    this.#inferStreams.close()
    const { closeTimeoutMs = 30_000 } = this.#options
    await new Promise<void>((resolve) => {
      const force = () => {
        this.#server.forceShutdown()
        resolve()
      }
      let isShut = false
      let timer = setTimeout(force, closeTimeoutMs)
      this.#server.tryShutdown(() => {
        isShut = true
        clearTimeout(timer)
        resolve()
      })
      // A connection that never said a word would not end by itself.
      void this.#callsUnderWay.ended().then(() => {
        if (isShut) return
        clearTimeout(timer)
        timer = setTimeout(force, Math.min(closeTimeoutMs, flushMs))
      })
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** What the last answers have to reach their clients in, after the calls' end, in milliseconds. */
const flushMs = 1000

interface Methods {
  readonly [name: string]: {
    readonly request: MessageType<unknown, unknown>
    readonly response: MessageType<unknown, unknown>
  }
}

/** The methods of a service as grpc-js takes them. */
function definitionOf(
  service: string,
  methods: Methods,
  kind = { requestStream: false, responseStream: false },
): Record<string, MethodDefinition<unknown, unknown>> {
  const entries = Object.entries(methods).map(([name, { request, response }]) => [
    name,
    {
      path: `/${service}/${name}`,
      ...kind,
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
