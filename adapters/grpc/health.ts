import { status, type handleServerStreamingCall, type ServerWritableStream } from '@grpc/grpc-js'
import { ServingError } from '../../src/errors.js'
import { isModelReady } from '../../src/http/v2-metadata.js'
import { inferenceService } from '../../src/v2/grpc-service.js'
import { string, uint32 } from '../../src/v2/protobuf/field.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { map, message, Message } from '../../src/v2/protobuf/message.js'
import type { Handler } from './calls.js'
import { invalidMessage, type Given, type Host } from './unary.js'

export const healthService = 'grpc.health.v1.Health'

const request = new Message({ service: string(1) })
const response = new Message({ status: uint32(1) })

/** The calls of the standard health service. */
export const healthMethods = {
  Check: { request, response },
  List: {
    request: new Message({}),
    response: new Message({ statuses: map(1, string(1), message(2, response)) }),
  },
} as const

/** The one of which the answers go on. */
export const healthStreams = { Watch: { request, response } } as const

const serving = 1
const notServing = 2
const serviceUnknown = 3

/** The names of the server as a whole. */
const wholes: readonly string[] = ['', inferenceService, healthService]

interface Request {
  readonly service: string
}

interface Response {
  readonly status: number
}

/** How often the health is looked at for those who watch it, in milliseconds. */
const lookEveryMs = 250

/**
 * The standard health of the server as a whole ('', and the inference service) and of each model, by its name. A lazy
 * model serves, since it is loaded for whoever asks it.
 */
export class Health {
  readonly #host: Host
  readonly #watchers = new Map<ServerWritableStream<Given<Request>, Response>, number | undefined>()
  #timer: NodeJS.Timeout | undefined

  constructor(host: Host) {
    this.#host = host
  }

  readonly check: Handler<Request, Response> = {
    answer: async ({ request: { service } }) => {
      await this.#host.serving.models.listed()
      const found = this.#statusOf(service)
      if (found !== serviceUnknown) return { status: found }
      throw new ServingError('MODEL_NOT_FOUND', `there is no service and no model "${service}".`)
    },
  }

  readonly list: Handler<object, { readonly statuses: ReadonlyMap<string, Response> }> = {
    answer: async () => {
      const { models } = this.#host.serving
      await models.listed()
      const services = [...wholes, ...models.list().map(({ name }) => name)]
      return { statuses: new Map(services.map((name) => [name, { status: this.#statusOf(name) }])) }
    },
  }

  /** Says how it is now, and again with each change, until the caller has enough. */
  readonly watch: handleServerStreamingCall<Given<Request>, Response> = (call) => {
    if (call.request instanceof MalformedMessage) {
      const details = invalidMessage(call.request).message
      call.emit('error', { code: status.INVALID_ARGUMENT, details })
      return
    }
    if (this.#host.isClosing) {
      call.write({ status: notServing })
      call.end()
      return
    }
    this.#watchers.set(call, undefined)
    call.once('cancelled', () => this.#left(call))
    this.#look()
    // It keeps no process alive: the server's connections do.
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs).unref()
  }

  #left(call: ServerWritableStream<Given<Request>, Response>): void {
    this.#watchers.delete(call)
    if (this.#watchers.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const statuses = new Map<string, number>()
    for (const [call, told] of this.#watchers) {
      if (call.request instanceof MalformedMessage) continue
      const { service } = call.request
      const now = statuses.get(service) ?? this.#statusOf(service)
      statuses.set(service, now)
      if (now === told) continue
      this.#watchers.set(call, now)
      call.write({ status: now })
    }
  }

  #statusOf(service: string): number {
    const { serving: host, isClosing } = this.#host
    const isWhole = wholes.includes(service)
    if (!isWhole && !host.models.has(service)) return serviceUnknown
    if (isClosing || host.isClosed) return notServing
    const isServing = isWhole ? host.readiness().status === 'ready' : isModelReady(host, service)
    return isServing ? serving : notServing
  }

  /** Tells the watchers that it serves no more, and lets them go. */
  close(): void {
    this.#look()
    for (const call of this.#watchers.keys()) call.end()
    this.#watchers.clear()
    clearInterval(this.#timer)
  }
}
