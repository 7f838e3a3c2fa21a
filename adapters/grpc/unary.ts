import { Metadata, type handleUnaryCall, type ServerUnaryCall } from '@grpc/grpc-js'
import { ServingError } from '../../src/errors.js'
import type { AdminAccess } from '../../src/http/admin-access.js'
import { checkContext, type RequestContext } from '../../src/http/door-options.js'
import { requestIdOf } from '../../src/http/request-id.js'
import type { AnyServing } from '../../src/serving.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { Caller } from './caller.js'
import type { Handler } from './calls.js'
import type { Call, GrpcOptions } from './options.js'
import { statusOf } from './status.js'

/** What the calls of a server have in common. */
export interface Host {
  readonly serving: AnyServing
  readonly options: GrpcOptions
  readonly access: AdminAccess | undefined
  readonly isClosing: boolean
}

/** A request, or why its bytes are none: grpc-js would call that an error of the server's. */
export type Given<Q> = Q | MalformedMessage

/** Answers the calls of one method: whatever fails becomes a status. */
export function unary<Q, A>(host: Host, handler: Handler<Q, A>): handleUnaryCall<Given<Q>, A> {
  return (call, respond) => {
    const { serving } = host
    const answer = new Answer(host, handler, call)
    answer
      .result()
      .then(
        (result) => respond(null, result),
        (error: unknown) => respond(statusOf(error, answer, serving.logger)),
      )
      .catch((error: unknown) => serving.logger.error({ err: error }, 'a gRPC call could not be answered'))
  }
}

/** The answer to one call, on its way. */
class Answer<Q, A> {
  requestId: string
  /** Whether whoever asks may read what is wrong in the server. */
  isTrusted = false
  readonly #caller: Caller

  constructor(
    private readonly host: Host,
    private readonly handler: Handler<Q, A>,
    private readonly call: ServerUnaryCall<Given<Q>, A>,
  ) {
    this.requestId = requestIdOf(headersOf(call))
    this.#caller = new Caller(call)
  }

  /** @throws what becomes a status */
  async result(): Promise<A> {
    const { call, host, handler } = this
    try {
      const context = handler.access === 'context' ? await contextOf(host, call) : {}
      this.requestId = context.requestId ?? this.requestId
      const actor = handler.access === 'admin' ? await this.#actor() : undefined
      this.isTrusted = actor !== undefined
      const { request } = call
      if (request instanceof MalformedMessage) throw invalidMessage(request)
      const metadata = new Metadata()
      metadata.set('x-request-id', this.requestId)
      const { signal, timeoutMs } = this.#caller
      const result = await handler.answer({
        serving: host.serving,
        serverName: host.options.serverName ?? 'mlserving',
        isAdministered: host.access !== undefined,
        isClosing: host.isClosing,
        request,
        requestId: this.requestId,
        signal,
        timeoutMs,
        context,
        metadata,
        ...(actor !== undefined && { actor }),
      })
      call.sendMetadata(metadata)
      return result
    } finally {
      this.#caller.answered()
    }
  }

  /** The name of who asks for a change. @throws what the host does; ServingError FORBIDDEN, UNAUTHORIZED, INVALID_OPTIONS */
  async #actor(): Promise<string> {
    const { access, serving } = this.host
    const headers = headersOf(this.call)
    const actor =
      access === undefined
        ? new ServingError('FORBIDDEN', 'nobody may do this: the server has no option admin.')
        : await access.actorOf({ headers, source: this.call })
    if (typeof actor === 'string') return actor
    const { requestId, call } = this
    serving.logger.warn({ requestId, path: call.getPath(), code: actor.code }, 'an admin request was refused')
    throw actor
  }
}

/** What the host says of a call. @throws what the host does; ServingError INVALID_OPTIONS */
export async function contextOf({ options }: Host, call: Call): Promise<RequestContext> {
  return checkContext(await options.context?.(call))
}

export function invalidMessage({ message }: MalformedMessage): ServingError {
  return new ServingError('INVALID_REQUEST', `the message is malformed: ${message}.`)
}

/** A call's metadata as HTTP has it. */
export function headersOf({ metadata }: Pick<Call, 'metadata'>): Record<string, string | undefined> {
  const [requestId, authorization] = ['x-request-id', 'authorization'].map((name) =>
    metadata.get(name)[0]?.toString(),
  )
  return { 'x-request-id': requestId, authorization }
}
