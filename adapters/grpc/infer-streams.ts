import { Metadata, status, type handleBidiStreamingCall, type ServerDuplexStream } from '@grpc/grpc-js'
import type { RequestContext } from '../../src/http/door-options.js'
import { requestIdOf } from '../../src/http/request-id.js'
import type { ModelInferRequest, modelStreamInferResponse } from '../../src/v2/grpc-messages.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import type { WrittenOf } from '../../src/v2/protobuf/message.js'
import { Caller } from './caller.js'
import { degradedKey, infer } from './infer.js'
import { statusOf } from './status.js'
import { contextOf, headersOf, invalidMessage, type Given, type Host } from './unary.js'

type StreamResponse = WrittenOf<typeof modelStreamInferResponse>
type InferCall = ServerDuplexStream<Given<ModelInferRequest>, StreamResponse>

/** How many requests of a stream are computed at once; further ones are left with the client. */
const mostAtOnce = 32

/** Streams of inferences: each request is answered by one message, in the order in which they came. */
export class InferStreams {
  readonly #host: Host
  readonly #streams = new Set<InferStream>()

  constructor(host: Host) {
    this.#host = host
  }

  readonly handler: handleBidiStreamingCall<Given<ModelInferRequest>, StreamResponse> = (call) => {
    const stream = new InferStream(this.#host, call)
    this.#streams.add(stream)
    call.once('cancelled', () => this.#streams.delete(stream))
    void stream.begin()
  }

  /** Takes no more requests, and ends the streams once those that came are answered. */
  close(): void {
    for (const stream of this.#streams) stream.close()
  }
}

class InferStream {
  readonly #host: Host
  readonly #call: InferCall
  readonly #caller: Caller
  #requestId: string
  #context: RequestContext = {}
  #underWay = 0
  #answered: Promise<void> = Promise.resolve()

  constructor(host: Host, call: InferCall) {
    this.#host = host
    this.#call = call
    this.#caller = new Caller(call)
    this.#requestId = requestIdOf(headersOf(call))
  }

  /** Asks the host who it is, and reads on from there. */
  async begin(): Promise<void> {
    const call = this.#call
    try {
      this.#context = await contextOf(this.#host, call)
    } catch (error) {
      call.emit('error', this.#statusOf(error))
      return
    }
    if (this.#host.isClosing) return this.close()
    this.#requestId = this.#context.requestId ?? this.#requestId
    const metadata = new Metadata()
    metadata.set('x-request-id', this.#requestId)
    call.sendMetadata(metadata)
    call.on('data', this.#take)
    call.once('end', () => void this.#answered.then(() => call.end()))
  }

  readonly #take = (request: Given<ModelInferRequest>): void => {
    if (++this.#underWay === mostAtOnce) this.#call.pause()
    const answer = this.#answer(request)
    this.#answered = this.#answered.then(async () => {
      await this.#write(await answer)
      if (this.#underWay-- === mostAtOnce) this.#call.resume()
    })
  }

  /** Until it is on its way: of a client that does not read no more is taken. */
  #write(response: StreamResponse): Promise<void> {
    return new Promise((resolve) => this.#call.write(response, () => resolve()))
  }

  /** Never fails: what is wrong with one request is its answer. */
  async #answer(request: Given<ModelInferRequest>): Promise<StreamResponse> {
    const metadata = new Metadata()
    // Clients of models that give many answers to a request wait for it.
    const parameters = new Map<string, boolean | string>([['triton_final_response', true]])
    try {
      if (request instanceof MalformedMessage) throw invalidMessage(request)
      const { signal, timeoutMs } = this.#caller
      const { serving } = this.#host
      const context = this.#context
      const requestId = this.#requestId
      const answer = await infer({
        serving,
        request,
        requestId,
        signal,
        timeoutMs,
        context,
        metadata,
        // There are no more than those taken, and their client waits with the others.
        whenFull: 'wait',
      })
      const [degraded] = metadata.get(degradedKey)
      if (degraded !== undefined) parameters.set(degradedKey, String(degraded))
      return { infer_response: { ...answer, parameters } }
    } catch (error) {
      const { details = '' } = this.#statusOf(error)
      const { id, model_name, model_version } = request instanceof MalformedMessage ? nobody : request
      return { error_message: details, infer_response: { id, model_name, model_version, parameters } }
    }
  }

  #statusOf(error: unknown) {
    return statusOf(error, { requestId: this.#requestId, isTrusted: false }, this.#host.serving.logger)
  }

  close(): void {
    const call = this.#call
    call.off('data', this.#take).pause()
    void this.#answered.then(() =>
      call.emit('error', { code: status.UNAVAILABLE, details: 'the server is closing.' }),
    )
  }
}

/** What is said of a request that nobody can read. */
const nobody = { id: '', model_name: '', model_version: '' }
