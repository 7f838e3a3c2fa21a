import type { CallLimit } from './call-limit.js'
import { InferenceError, type InferenceErrorDetails } from './inference-error.js'
import { retryAfterMs, retryDelayMs, isWorthRetrying } from './retry.js'

/** One exchange with the server. */
export interface Exchange {
  readonly method: 'GET' | 'POST'
  /** Below the base URL, beginning with a slash. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** For errors. */
  readonly model?: string | undefined
  /** How often it is tried again. */
  readonly retries: number
  /** Statuses that are answers, beside those of success. Default: none. */
  readonly accepts?: readonly number[]
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: Uint8Array
}

/** Exchanges with one server over `fetch`. */
export class HttpTransport {
  constructor(
    readonly url: string,
    private readonly headers: Readonly<Record<string, string>>,
    private readonly fetch: typeof globalThis.fetch,
  ) {}

  /**
   * Has an answer, after as many attempts as it takes and may take.
   * @throws InferenceError CONNECTION_FAILED, TIMEOUT, ABORTED, SERVER_ERROR
   */
  async exchange(exchange: Exchange, limit: CallLimit): Promise<Reply> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(exchange, limit)
      } catch (error) {
        const delayMs = retryDelayMs(attempt, error)
        const isOver = attempt >= exchange.retries || delayMs >= limit.remainingMs
        if (isOver || !isWorthRetrying(error)) throw error
        await limit.wait(delayMs)
      }
    }
  }

  async #attempt(exchange: Exchange, limit: CallLimit): Promise<Reply> {
    const { method, path, body, headers, model, accepts = [] } = exchange
    const about: InferenceErrorDetails = { endpoint: this.url, model }
    if (limit.end !== undefined) throw this.#ended(limit, about)
    let response: Response
    try {
      response = await this.fetch(this.url + path, {
        method,
        headers: { ...this.headers, ...headers },
        signal: limit.signal,
        ...(body !== undefined && { body: body as Uint8Array<ArrayBuffer> }),
      })
    } catch (error) {
      throw this.#failed(limit, about, 'no connection', error)
    }
    const bytes = await response.arrayBuffer().catch((error: unknown) => {
      throw this.#failed(limit, { ...about, status: response.status }, 'the answer broke off', error)
    })
    const reply = { status: response.status, headers: response.headers, body: new Uint8Array(bytes) }
    if (response.ok || accepts.includes(response.status)) return reply
    throw serverError(reply, about)
  }

  #failed(limit: CallLimit, about: InferenceErrorDetails, what: string, error: unknown): InferenceError {
    if (limit.end !== undefined) return this.#ended(limit, about)
    return new InferenceError('CONNECTION_FAILED', `${what}: ${reasonOf(error)}`, { ...about, cause: error })
  }

  #ended(limit: CallLimit, about: InferenceErrorDetails): InferenceError {
    const message =
      limit.end === 'TIMEOUT' ? `no answer within ${limit.timeoutMs} ms` : 'the caller aborted the call'
    return new InferenceError(limit.end ?? 'ABORTED', message, { ...about, cause: limit.reason })
  }
}

/** The reason that lies behind the "fetch failed" of undici. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(inner instanceof Error)) return String(inner)
  // An AggregateError, of all addresses of a name, has no message.
  return inner.message || ((inner as { code?: string }).code ?? inner.name)
}

function serverError({ status, headers, body }: Reply, about: InferenceErrorDetails): InferenceError {
  const serverMessage = messageIn(body)
  return new InferenceError('SERVER_ERROR', `${status}: ${serverMessage ?? 'no reason given'}`, {
    ...about,
    status,
    serverMessage,
    retryAfterMs: retryAfterMs(headers.get('retry-after')),
  })
}

const longestMessage = 1000

/** What a server says of an error: `{ "error" }` by the protocol, else what others send. */
function messageIn(body: Uint8Array): string | undefined {
  const text = new TextDecoder().decode(body.subarray(0, 64 * 1024))
  let message: unknown = text
  try {
    const { error, detail, message: other } = JSON.parse(text) as Record<string, unknown>
    message = error ?? detail ?? other ?? text
  } catch {
    // A gateway's page, say.
  }
  const said = typeof message === 'string' ? message : JSON.stringify(message)
  return said.trim() === '' ? undefined : said.trim().slice(0, longestMessage)
}
