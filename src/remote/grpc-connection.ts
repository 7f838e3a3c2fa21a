import type * as Grpc from '@grpc/grpc-js'
import type { CallOptions } from '../client/call-limit.js'
import type { ModelCallOptions } from '../client/inference-client.js'
import { InferenceError } from '../client/inference-error.js'
import type { InferRequest, InferResponse } from '../client/messages.js'
import type { ModelMetadata, TensorMetadata } from '../v2/metadata.js'
import { messageOf, ServingError } from '../errors.js'
import { datatypes } from '../v2/datatype.js'
import { encode, type MessageOf, type WrittenOf } from '../v2/protobuf/message.js'
import { inferenceMethods, inferenceService, type InferenceMethod } from '../v2/grpc-service.js'
import { toRaw } from '../v2/raw-tensor.js'
import { outputsOf } from './grpc-outputs.js'
import { grpcErrorOf } from './grpc-error.js'
import type { RemoteServer } from './remote-server.js'

type Request<M extends InferenceMethod> = WrittenOf<(typeof inferenceMethods)[M]['request']>
type Response<M extends InferenceMethod> = MessageOf<(typeof inferenceMethods)[M]['response']>

/** How a server is reached. */
export interface GrpcAccess {
  readonly headers: Readonly<Record<string, string>>
  readonly maxResponseBytes: number
}

const channelOptions: Grpc.ChannelOptions = {
  // Tensors are as large as they are.
  'grpc.max_send_message_length': -1,
  // A client that is made anew has a connection of its own.
  'grpc.use_local_subchannel_pool': 1,
  // A server that is back is not left alone for minutes: who calls has waits of its own.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5000,
}

/** A server that is reached over gRPC. */
export class GrpcConnection implements RemoteServer {
  readonly #grpc: typeof Grpc
  readonly #url: string
  readonly #connect: () => Grpc.Client
  #client: Grpc.Client
  #isClosed = false
  readonly #metadata: Grpc.Metadata

  private constructor(grpc: typeof Grpc, url: string, { headers, maxResponseBytes }: GrpcAccess) {
    const [, protocol, target = ''] = /^(?:(grpcs?):\/\/)?(.*)$/.exec(url) ?? []
    const { credentials } = grpc
    this.#grpc = grpc
    this.#url = url
    this.#connect = () =>
      new grpc.Client(target, protocol === 'grpcs' ? credentials.createSsl() : credentials.createInsecure(), {
        ...channelOptions,
        'grpc.max_receive_message_length': maxResponseBytes,
      })
    this.#client = this.#connect()
    this.#metadata = new grpc.Metadata()
    for (const [name, value] of Object.entries(headers)) this.#metadata.set(name, value)
  }

  /**
   * @param url `host:port` or `grpc://host:port`; `grpcs://host:port` for TLS
   * @throws ServingError INVALID_OPTIONS where there is no `@grpc/grpc-js`
   */
  static async open(url: string, access: GrpcAccess): Promise<GrpcConnection> {
    let grpc: typeof Grpc
    try {
      grpc = await import('@grpc/grpc-js')
    } catch (error) {
      throw new ServingError(
        'INVALID_OPTIONS',
        `remote(): the protocol "grpc" needs the package @grpc/grpc-js: ${messageOf(error)}`,
        { cause: error },
      )
    }
    return new GrpcConnection(grpc, url, access)
  }

  async modelReady(model: string, { version = '', ...options }: ModelCallOptions): Promise<boolean> {
    try {
      return (await this.#call('ModelReady', { name: model, version }, model, options)).ready
    } catch (error) {
      if (InferenceError.is(error) && error.status === 404) return false
      throw error
    }
  }

  async modelMetadata(model: string, { version = '', ...options }: ModelCallOptions): Promise<ModelMetadata> {
    const request = { name: model, version }
    const { name, versions, platform, inputs, outputs } = await this.#call(
      'ModelMetadata',
      request,
      model,
      options,
    )
    const tensor = ({ shape, ...rest }: (typeof inputs)[number]): TensorMetadata => ({
      ...rest,
      shape: Array.from(shape, Number),
    })
    return { name, versions, platform, inputs: inputs.map(tensor), outputs: outputs.map(tensor) }
  }

  async infer(
    model: string,
    { inputs, version = '' }: InferRequest,
    options: CallOptions,
  ): Promise<Pick<InferResponse, 'outputs'>> {
    const tensors = Object.entries(inputs)
    const request = {
      model_name: model,
      model_version: version,
      inputs: tensors.map(([name, { dtype, shape }]) => ({
        name,
        datatype: datatypes[dtype],
        shape: BigInt64Array.from(shape, BigInt),
      })),
      raw_input_contents: tensors.map(([, tensor]) => toRaw(tensor)),
    }
    return { outputs: outputsOf(await this.#call('ModelInfer', request, model, options), model, this.#url) }
  }

  close(): void {
    this.#isClosed = true
    this.#client.close()
  }

  /**
   * Has the calls after one that was not answered go over a connection of their own: who is gone without a word leaves one on
   * which nothing is answered for as long as a quarter of an hour. The calls under way stay on theirs.
   */
  #leave(client: Grpc.Client): void {
    if (this.#isClosed || client !== this.#client) return
    this.#client = this.#connect()
    client.close()
  }

  /** @throws InferenceError */
  #call<M extends InferenceMethod>(
    method: M,
    request: Request<M>,
    model: string,
    { signal, timeoutMs }: CallOptions,
  ): Promise<Response<M>> {
    const { request: requestType, response: responseType } = inferenceMethods[method]
    const deadline = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs
    return new Promise((resolve, reject) => {
      const about = { endpoint: this.#url, model }
      if (signal?.aborted === true) {
        return reject(
          new InferenceError('ABORTED', 'the caller aborted the call', { ...about, cause: signal.reason }),
        )
      }
      const client = this.#client
      const call = client.makeUnaryRequest<Request<M>, Buffer>(
        `/${inferenceService}/${method}`,
        (value) => encode(requestType as never, value),
        (bytes) => bytes,
        request,
        this.#metadata,
        { deadline },
        (error, bytes) => {
          signal?.removeEventListener('abort', onAbort)
          if (error !== null) {
            const failure = grpcErrorOf(this.#grpc, error, about, signal)
            if (failure.code === 'TIMEOUT') this.#leave(client)
            return reject(failure)
          }
          try {
            resolve(responseType.read(bytes ?? Buffer.alloc(0)) as Response<M>)
          } catch (cause) {
            const message = `the answer is not as the protocol says: ${messageOf(cause)}`
            reject(new InferenceError('INVALID_RESPONSE', message, { ...about, cause }))
          }
        },
      )
      const onAbort = () => call.cancel()
      signal?.addEventListener('abort', onAbort)
    })
  }
}
