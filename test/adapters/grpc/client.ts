import {
  Client,
  credentials,
  type ClientOptions,
  Metadata,
  type ServiceError,
  type StatusObject,
  type CallOptions,
} from '@grpc/grpc-js'
import { onTestFinished } from 'vitest'
import { otherHealth, otherService } from '../../v2/other-protobuf.js'

export type Plain = Record<string, unknown>

/** A client of what grpc-js's own users have: messages are read and written by another implementation than ours. */
export class TestClient {
  readonly #client: Client

  constructor(port: number, options: ClientOptions = {}) {
    // Connections are shared between clients of equal options, else.
    const own = { 'grpc.use_local_subchannel_pool': 1, 'grpc.max_receive_message_length': -1, ...options }
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), own)
  }

  close(): void {
    this.#client.close()
  }

  /** Asks a method of the inference service, or `Check` of the health service. */
  call(method: string, request: object = {}, metadata?: Metadata, options?: CallOptions): Call {
    return this.#unary(
      definitionOf(method),
      (value) => definitionOf(method).requestSerialize(value),
      request,
      metadata,
      options,
    )
  }

  /** Sends bytes that are to be a message of the method. */
  raw(method: string, bytes: Uint8Array): Call {
    return this.#unary(definitionOf(method), () => Buffer.from(bytes), {})
  }

  /** Asks by a path, which need be no method's. */
  path(path: string): Call {
    return this.#unary({ ...definitionOf('ServerLive'), path }, () => Buffer.alloc(0), {})
  }

  #unary(
    { path, responseDeserialize }: ReturnType<typeof definitionOf>,
    serialize: (value: object) => Buffer,
    request: object,
    metadata?: Metadata,
    options: CallOptions = {},
  ): Call {
    let cancel = () => {}
    let headers: Metadata | undefined
    const answer = new Promise<Plain>((resolve, reject) => {
      const done = (error: ServiceError | null, value?: object) => {
        if (error === null) resolve(value as Plain)
        else reject(error)
      }
      const call =
        metadata === undefined
          ? this.#client.makeUnaryRequest(path, serialize, responseDeserialize, request, options, done)
          : this.#client.makeUnaryRequest(
              path,
              serialize,
              responseDeserialize,
              request,
              metadata,
              options,
              done,
            )
      call.on('metadata', (received) => (headers = received))
      cancel = () => call.cancel()
    })
    return Object.assign(answer, { cancel: () => cancel(), headers: () => headers })
  }

  /** Watches the health of a service: the statuses in the order in which they come. */
  watch(service: string): { readonly statuses: number[]; readonly ended: Promise<void>; cancel(): void } {
    const { path, requestSerialize, responseDeserialize } = otherHealth.Watch ?? missing('Watch')
    const call = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {
      service,
    })
    const statuses: number[] = []
    call.on('data', ({ status }: Plain) => statuses.push(Number(status)))
    const ended = new Promise<void>((resolve) => call.on('end', resolve).on('error', () => resolve()))
    return { statuses, ended, cancel: () => call.cancel() }
  }

  /** Asks requests on one stream, which ends behind them: the answers, and how it ended. */
  async stream(requests: readonly object[], metadata = new Metadata(), options: CallOptions = {}) {
    const { call, answers, ended } = this.openStream(metadata, options)
    for (const request of requests) call.write(request)
    call.end()
    return { answers, end: await ended }
  }

  /** A stream of requests; bytes go as they are. */
  openStream(metadata = new Metadata(), options: CallOptions = {}) {
    const { path, requestSerialize, responseDeserialize } = definitionOf('ModelStreamInfer')
    const call = this.#client.makeBidiStreamRequest(
      path,
      (value: object) => (Buffer.isBuffer(value) ? value : requestSerialize(value)),
      responseDeserialize,
      metadata,
      options,
    )
    const answers: Plain[] = []
    call.on('data', (answer: Plain) => answers.push(answer))
    const ended = new Promise<StatusObject>((resolve) => call.on('error', () => {}).on('status', resolve))
    return { call, answers, ended }
  }
}

type Call = Promise<Plain> & { cancel(): void; headers(): Metadata | undefined }

function definitionOf(method: string) {
  return otherService[method] ?? otherHealth[method] ?? missing(method)
}

function missing(method: string): never {
  throw new Error(`there is no method ${method}`)
}

/** A client that is closed with the test. */
export function clientOf(port: number, options?: ClientOptions): TestClient {
  const client = new TestClient(port, options)
  onTestFinished(() => client.close())
  return client
}

/** The error that a call ends with. */
export async function failureOf(call: Promise<unknown>): Promise<ServiceError> {
  const settled = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if ('error' in settled) return settled.error as ServiceError
  throw new Error(`the call was answered: ${JSON.stringify(settled.value)}`)
}

/** An input as raw bytes, which follow in the request. */
export function input(name: string, datatype: string, shape: readonly number[]): Plain {
  return { name, datatype, shape }
}

export function float32Bytes(...values: number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer)
}
