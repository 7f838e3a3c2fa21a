import { CallLimit, type CallOptions } from './call-limit.js'
import { checkOptions, checkTimeoutMs, type InferenceClientOptions } from './client-options.js'
import { HttpTransport, type Exchange, type Reply } from './http-transport.js'
import { encodeRequest } from './infer-request.js'
import { decodeResponse } from './infer-response.js'
import { InferenceError } from './inference-error.js'
import type {
  InferRequest,
  InferResponse,
  ModelStatistics,
  RepositoryEntry,
  RequestedOutputs,
} from './messages.js'
import type { ModelMetadata, ServerMetadata } from '../v2/metadata.js'
import { modelPath } from './model-path.js'
import { modelMetadataOf, repositoryIndexOf, serverMetadataOf, statisticsOf } from './metadata.js'
import { Unexpected } from './response-json.js'

/** Options of a call about a model. */
export interface ModelCallOptions extends CallOptions {
  /** Default: the version that serves. */
  readonly version?: string | undefined
}

/** What servers answer that are alive, but not ready: by the protocol a 400, by others 404 or 503. */
const notReady = [400, 404, 503]

/** The extension by which tensors go as bytes. */
const binaryExtension = 'binary_tensor_data'

/**
 * A client of a server that speaks the Open Inference Protocol (V2) over HTTP: mlserving, Triton, KServe, MLServer.
 * It holds nothing that has to be closed; connections are kept alive by `fetch`.
 *
 * ```ts
 * const client = new InferenceClient({ url: 'http://localhost:8000' })
 * const { outputs } = await client.infer('churn', { inputs: { features: float32(row, [1, 30]) } })
 * ```
 *
 * Every method throws {@link InferenceError}: CONNECTION_FAILED, TIMEOUT, ABORTED, SERVER_ERROR, INVALID_RESPONSE or
 * RESPONSE_TOO_LARGE; INVALID_REQUEST and INVALID_OPTIONS before anything is sent.
 */
export class InferenceClient {
  /** The base URL, without a slash at its end. */
  readonly url: string
  readonly #transport: HttpTransport
  readonly #timeoutMs: number
  readonly #retries: number
  /** Whether tensors go as bytes; undefined until the server has been asked. */
  #binary: boolean | undefined

  /** @throws InferenceError INVALID_OPTIONS */
  constructor(options: InferenceClientOptions) {
    const { url, headers, fetch, timeoutMs, retries, binary, maxResponseBytes } = checkOptions(options)
    this.url = url
    this.#transport = new HttpTransport(url, headers, fetch, maxResponseBytes)
    this.#timeoutMs = timeoutMs
    this.#retries = retries
    this.#binary = binary
  }

  /** Whether the server answers. Not tried again: the answer is the answer. */
  serverLive(options?: CallOptions): Promise<boolean> {
    return this.#isOk('/v2/health/live', options)
  }

  /** Whether the server is ready for inference. */
  serverReady(options?: CallOptions): Promise<boolean> {
    return this.#isOk('/v2/health/ready', options)
  }

  /** Whether a model is ready for inference; false where the server does not know it. */
  async modelReady(model: string, { version, ...options }: ModelCallOptions = {}): Promise<boolean> {
    return this.#isOk(`${modelPath(model, version)}/ready`, options, model)
  }

  serverMetadata(options?: CallOptions): Promise<ServerMetadata> {
    return this.#get('/v2', serverMetadataOf, options)
  }

  /** Names, datatypes and shapes of a model's inputs and outputs, and the versions that the server has of it. */
  async modelMetadata(model: string, { version, ...options }: ModelCallOptions = {}): Promise<ModelMetadata> {
    return this.#get(modelPath(model, version), modelMetadataOf, options, model)
  }

  /** What the server counted: of one model, or without a name of all. */
  async statistics(
    model?: string,
    { version, ...options }: ModelCallOptions = {},
  ): Promise<ModelStatistics[]> {
    const path = model === undefined ? '/v2/models' : modelPath(model, version)
    return this.#get(`${path}/stats`, statisticsOf, options, model)
  }

  /** The models of the server's repository. @param ready whether only those that are ready are wanted. Default: false */
  repositoryIndex({ ready, ...options }: CallOptions & { readonly ready?: boolean } = {}): Promise<
    RepositoryEntry[]
  > {
    const body = new TextEncoder().encode(JSON.stringify(ready === true ? { ready } : {}))
    const headers = { 'content-type': 'application/json' }
    return this.#within(options, (limit) =>
      this.#read({ method: 'POST', path: '/v2/repository/index', body, headers }, repositoryIndexOf, limit),
    )
  }

  /**
   * Runs a model. Names of outputs that are given, or their dtypes, type the answer, which is checked for them:
   *
   * ```ts
   * const { outputs } = await client.infer('churn', { inputs, outputs: { score: 'float32' } })
   * outputs.score.data // a Float32Array
   * ```
   */
  infer<const S extends RequestedOutputs = readonly string[]>(
    model: string,
    request: InferRequest<S>,
    options: CallOptions = {},
  ): Promise<InferResponse<S>> {
    return this.#within(options, async (limit) => {
      const path = `${modelPath(model, request.version)}/infer`
      const binary = (this.#binary ??= await this.#asksBinary(limit))
      const exchange: Exchange = {
        method: 'POST',
        path,
        ...encodeRequest(model, request, binary),
        model,
        // The same input has the same answer: inference changes nothing on the server.
        retries: this.#retries,
      }
      const reply = await this.#transport.exchange(exchange, limit)
      return this.#expected(reply, model, () =>
        decodeResponse(reply.body, reply.headers.get('inference-header-content-length'), request.outputs),
      )
    })
  }

  /** Whether the server says that it takes tensors as bytes; one that says nothing of itself takes JSON. */
  async #asksBinary(limit: CallLimit): Promise<boolean> {
    try {
      const { extensions } = await this.#read({ method: 'GET', path: '/v2' }, serverMetadataOf, limit)
      return extensions.includes(binaryExtension)
    } catch (error) {
      const isSilent =
        InferenceError.is(error, 'INVALID_RESPONSE') ||
        (InferenceError.is(error, 'SERVER_ERROR') && error.status !== undefined && error.status < 500)
      if (isSilent) return false
      throw error
    }
  }

  #isOk(path: string, options: CallOptions = {}, model?: string): Promise<boolean> {
    return this.#within(options, async (limit) => {
      const exchange: Exchange = { method: 'GET', path, model, retries: 0, accepts: notReady }
      const { status, body } = await this.#transport.exchange(exchange, limit)
      return !notReady.includes(status) && !saysNo(body)
    })
  }

  #get<T>(path: string, read: (message: unknown) => T, options?: CallOptions, model?: string): Promise<T> {
    return this.#within(options, (limit) => this.#read({ method: 'GET', path, model }, read, limit))
  }

  async #read<T>(
    exchange: Omit<Exchange, 'retries'>,
    read: (message: unknown) => T,
    limit: CallLimit,
  ): Promise<T> {
    const reply = await this.#transport.exchange({ ...exchange, retries: this.#retries }, limit)
    return this.#expected(reply, exchange.model, () => {
      let message: unknown
      try {
        message = JSON.parse(new TextDecoder().decode(reply.body))
      } catch {
        throw new Unexpected('it is no JSON')
      }
      return read(message)
    })
  }

  #expected<T>({ status }: Reply, model: string | undefined, read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof Unexpected)) throw error
      throw new InferenceError(
        'INVALID_RESPONSE',
        `the answer is not as the protocol says: ${error.message}.`,
        {
          endpoint: this.url,
          model,
          status,
          cause: error,
        },
      )
    }
  }

  async #within<T>(
    { signal, timeoutMs = this.#timeoutMs }: CallOptions = {},
    call: (limit: CallLimit) => Promise<T>,
  ): Promise<T> {
    checkTimeoutMs(timeoutMs)
    const limit = new CallLimit(signal, timeoutMs)
    try {
      return await call(limit)
    } finally {
      limit.dispose()
    }
  }
}

/** Whether an answer about health denies in words what its status says: the protocol has both. */
function saysNo(body: Uint8Array): boolean {
  try {
    const { live, ready } = JSON.parse(new TextDecoder().decode(body)) as Record<string, unknown>
    return live === false || ready === false
  } catch {
    return false // most say nothing beside the status
  }
}
