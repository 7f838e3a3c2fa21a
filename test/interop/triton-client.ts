import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { datatypes, dtypeOf } from '../../src/v2/datatype.js'
import { fromRaw, toRaw } from '../../src/v2/raw-tensor.js'
import type { Feeds, Tensor } from '../../src/tensor/tensor.js'
import { PythonProcess } from './python-process.js'

export type Transport = 'http' | 'grpc'

/** tritonclient's own client, or the one for asyncio. */
export type Style = 'sync' | 'aio'

export interface Inference {
  readonly model: string
  readonly version?: string
  readonly inputs: Feeds
  /** Whether inputs are sent as binary tensors over HTTP. Default: true, as it is tritonclient's. */
  readonly binary?: boolean
  /** None: all, binary. */
  readonly outputs?: readonly RequestedOutput[]
  /** Further arguments of tritonclient's `infer`. */
  readonly options?: Readonly<Record<string, unknown>>
}

export interface RequestedOutput {
  readonly name: string
  /** Default: true. */
  readonly binary?: boolean
  /** The best so many classes in place of the tensor. */
  readonly classes?: number
}

/** What tritonclient made of a response. */
export interface InferenceAnswer {
  readonly id?: string
  readonly model_name: string
  readonly model_version?: string
  readonly parameters?: Readonly<Record<string, unknown>>
  readonly tensors: Readonly<Record<string, Tensor>>
  /** Of each output, whether it came as a binary tensor. */
  readonly binary: Readonly<Record<string, boolean>>
}

/** What tritonclient raised. */
export class TritonClientError extends Error {
  constructor(
    /** `server` for InferenceServerException, else the name of Python's exception. */
    readonly kind: string,
    /** Such as `400`, or `StatusCode.NOT_FOUND`. */
    readonly status: string | undefined,
    message: string,
  ) {
    super(message)
  }
}

type Outcome<T> = { readonly value: T } | { readonly error: TritonClientError }

interface WireOutput {
  readonly name: string
  readonly datatype: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly raw: string
  readonly binary: boolean
}

type WireAnswer = Omit<InferenceAnswer, 'tensors' | 'binary'> & { readonly outputs: readonly WireOutput[] }
type WireError = { readonly kind: string; readonly status?: string; readonly message: string }
type WireOutcome = { readonly value: unknown } | { readonly error: WireError }

/** A process of Python that calls tritonclient, one call after the other. */
export class TritonClientProcess implements AsyncDisposable {
  readonly #python: PythonProcess
  readonly #lines: Interface
  #calls = 0
  /** The end of the call before. */
  #before: Promise<unknown> = Promise.resolve()

  /** @param programs of the environment that has tritonclient */
  constructor(programs: string) {
    this.#python = PythonProcess.start(programs, 'python', { args: ['driver.py'] })
    const { stdout } = this.#python.child
    if (stdout === null) throw new Error('no stdout')
    this.#lines = createInterface({ input: stdout })
  }

  /** One after the other, whenever they are called. @throws TritonClientError */
  call(request: object): Promise<unknown> {
    const answer = this.#before.then(() => this.#ask(request))
    this.#before = answer.catch(() => {})
    return answer
  }

  async #ask(request: object): Promise<unknown> {
    const ended = new AbortController()
    const end = once(this.#python.child, 'exit', { signal: ended.signal })
    const line = once(this.#lines, 'line', { signal: ended.signal })
    this.#python.child.stdin?.write(`${JSON.stringify(request)}\n`)
    const [answer] = (await Promise.race([line, end])) as [unknown]
    line.catch(() => {})
    end.catch(() => {})
    ended.abort()
    if (typeof answer !== 'string') throw this.#python.failure('ended')
    this.#calls++
    return unwrap(JSON.parse(answer) as WireOutcome)
  }

  /** Says how many calls tritonclient made. */
  async [Symbol.asyncDispose](): Promise<void> {
    console.log(`tritonclient made ${this.#calls} calls`)
    await this.#python[Symbol.asyncDispose]()
  }
}

/** tritonclient in one of its forms, before one server. */
export class TritonClient {
  constructor(
    private readonly process: TritonClientProcess,
    readonly transport: Transport,
    readonly style: Style,
    /** Host, port, and a path where there is one. */
    private readonly url: string,
  ) {}

  /** The same before a path of the server. */
  below(path: string): TritonClient {
    return new TritonClient(this.process, this.transport, this.style, `${this.url}/${path}`)
  }

  /**
   * Calls a method of tritonclient's with arguments as they are.
   * @throws TritonClientError
   */
  call(method: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const { transport, style, url } = this
    return this.process.call({ transport, style, url, method, arguments: args })
  }

  /** @throws TritonClientError */
  async infer(inference: Inference): Promise<InferenceAnswer> {
    return answerOf((await this.call('infer', this.#arguments(inference))) as WireAnswer)
  }

  /** Sends several before it waits for any. */
  inferAtOnce(inferences: readonly Inference[]): Promise<Outcome<InferenceAnswer>[]> {
    return this.#many('async_infer', inferences)
  }

  /** The same over one bidirectional stream of gRPC. */
  inferOverStream(inferences: readonly Inference[]): Promise<Outcome<InferenceAnswer>[]> {
    return this.#many('stream_infer', inferences)
  }

  /** Cancels a call of gRPC as soon as it is sent. */
  async cancelInference(inference: Inference): Promise<Outcome<InferenceAnswer>> {
    return outcomeOf((await this.call('cancelled_infer', this.#arguments(inference))) as WireOutcome)
  }

  async #many(method: string, inferences: readonly Inference[]) {
    const requests = inferences.map((inference) => this.#arguments(inference))
    return ((await this.call(method, { requests })) as WireOutcome[]).map(outcomeOf)
  }

  #arguments({ model, version, inputs, binary = true, outputs = [], options = {} }: Inference) {
    return {
      model_name: model,
      ...(version === undefined ? {} : { model_version: version }),
      inputs: Object.entries(inputs).map(([name, tensor]) => ({
        name,
        datatype: datatypes[tensor.dtype],
        shape: tensor.shape,
        raw: Buffer.from(toRaw(tensor)).toString('base64'),
        binary,
      })),
      outputs: outputs.map((output) => ({ binary: true, ...output })),
      ...options,
    }
  }
}

function unwrap(outcome: WireOutcome): unknown {
  if ('error' in outcome) throw errorOf(outcome.error)
  return outcome.value
}

function errorOf({ kind, status, message }: WireError): TritonClientError {
  return new TritonClientError(kind, status, message)
}

function outcomeOf(outcome: WireOutcome): Outcome<InferenceAnswer> {
  return 'error' in outcome
    ? { error: errorOf(outcome.error) }
    : { value: answerOf(outcome.value as WireAnswer) }
}

function answerOf({ outputs, ...head }: WireAnswer): InferenceAnswer {
  return {
    ...head,
    tensors: Object.fromEntries(outputs.map((output) => [output.name, tensorOf(output)])),
    binary: Object.fromEntries(outputs.map(({ name, binary }) => [name, binary])),
  }
}

function tensorOf({ name, datatype, dtype, shape, raw }: WireOutput): Tensor {
  const wanted = dtypeOf(datatype)
  if (wanted === undefined || dtype !== datatype)
    throw new Error(`${name} is ${datatype}, and ${dtype} in numpy`)
  return fromRaw(wanted, shape, Buffer.from(raw, 'base64'))
}
