import { status, type handleServerStreamingCall, type ServerWritableStream } from '@grpc/grpc-js'
import { ServingError } from '../../src/errors.js'
import { isModelReady } from '../../src/http/v2-metadata.js'
import { inferenceService } from '../../src/v2/grpc-service.js'
import { string, uint32 } from '../../src/v2/protobuf/field.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { Message } from '../../src/v2/protobuf/message.js'
import type { Handler } from './calls.js'
import type { Given, Host } from './unary.js'

export const healthService = 'grpc.health.v1.Health'

const request = new Message({ service: string(1) })
const response = new Message({ status: uint32(1) })

/** The calls of the standard health service; of `Watch` the answers go on. */
export const healthMethods = { Check: { request, response }, Watch: { request, response } } as const

const serving = 1
const notServing = 2
const serviceUnknown = 3

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
      const { models } = this.#host.serving
      if (!models.isListed) await models.listed()
      const found = this.#statusOf(service)
      if (found !== serviceUnknown) return { status: found }
      throw new ServingError('MODEL_NOT_FOUND', `there is no service and no model "${service}".`)
    },
  }

  /** Says how it is now, and again with each change, until the caller has enough. */
  readonly watch: handleServerStreamingCall<Given<Request>, Response> = (call) => {
    if (call.request instanceof MalformedMessage) {
      const details = `the message is malformed: ${call.request.message}.`
      call.emit('error', { code: status.INVALID_ARGUMENT, details })
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
    for (const [call, told] of this.#watchers) {
      if (call.request instanceof MalformedMessage) continue
      const now = this.#statusOf(call.request.service)
      if (now === told) continue
      this.#watchers.set(call, now)
      call.write({ status: now })
    }
  }

  #statusOf(service: string): number {
    const { serving: host, isClosing } = this.#host
    const isWhole = service === '' || service === inferenceService || service === healthService
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
