import type { CallLimit } from './call-limit.js'
import { InferenceError, type InferenceErrorDetails } from './inference-error.js'
import { beginningOf, bodyOf, BodyTooLarge } from './response-body.js'
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
    private readonly maxResponseBytes: number,
  ) {}

  /**
   * Has an answer, after as many attempts as it takes and may take.
   * @throws InferenceError CONNECTION_FAILED, TIMEOUT, ABORTED, SERVER_ERROR, RESPONSE_TOO_LARGE
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
        // What is followed may lose its method and body, or take the headers to another server.
        redirect: 'manual',
        signal: limit.signal,
        ...(body !== undefined && { body: body as Uint8Array<ArrayBuffer> }),
      })
    } catch (error) {
      throw this.#failed(limit, about, 'no connection', error)
    }
    const { status, headers: answered } = response
    const isAnswer = response.ok || accepts.includes(status)
    const reading = isAnswer ? bodyOf(response, this.maxResponseBytes) : beginningOf(response, longestReason)
    const bytes = await reading.catch((error: unknown) => {
      throw this.#failed(limit, { ...about, status }, 'the answer broke off', error)
    })
    if (isAnswer) return { status, headers: answered, body: bytes }
    throw serverError(response, bytes, about)
  }

  #failed(limit: CallLimit, about: InferenceErrorDetails, what: string, error: unknown): InferenceError {
    if (limit.end !== undefined) return this.#ended(limit, about)
    if (error instanceof BodyTooLarge) {
      const message = `the answer has ${error.message} (maxResponseBytes)`
      return new InferenceError('RESPONSE_TOO_LARGE', message, { ...about, cause: error })
    }
    const reason = reasonOf(error)
    const code = waits.includes(reason.code) ? 'TIMEOUT' : 'CONNECTION_FAILED'
    return new InferenceError(code, `${what}: ${reason.text}`, { ...about, cause: error })
  }

  #ended(limit: CallLimit, about: InferenceErrorDetails): InferenceError {
    const message =
      limit.end === 'TIMEOUT' ? `no answer within ${limit.timeoutMs} ms` : 'the caller aborted the call'
    return new InferenceError(limit.end ?? 'ABORTED', message, { ...about, cause: limit.reason })
  }
}

/** Node's fetch itself waits 300 seconds for an answer, and for each part of it. */
const waits: readonly unknown[] = ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']

/** The reason that lies behind the "fetch failed" of undici. */
function reasonOf(error: unknown): { readonly text: string; readonly code?: unknown } {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(inner instanceof Error)) return { text: String(inner) }
  const { code } = inner as { readonly code?: string }
  // An AggregateError, of all addresses of a name, has no message.
  return { text: inner.message || (code ?? inner.name), code }
}

/** Of what comes with an error, that much is read. */
const longestReason = 64 * 1024

function serverError(
  { status, headers, type }: Response,
  body: Uint8Array,
  about: InferenceErrorDetails,
): InferenceError {
  const to = headers.get('location')
  // A browser keeps to itself what it is, and where it leads.
  const isRedirect = type === 'opaqueredirect' || (status >= 300 && status < 400 && to !== null)
  const serverMessage = isRedirect ? undefined : messageIn(body)
  const reason = isRedirect
    ? `it redirects${to === null ? '' : ` to ${to.slice(0, longestMessage)}`}, which is not followed; give the client that url`
    : (serverMessage ?? 'no reason given')
  return new InferenceError('SERVER_ERROR', `${status}: ${reason}`, {
    ...about,
    status,
    serverMessage,
    retryAfterMs: retryAfterMs(headers.get('retry-after')),
  })
}

const longestMessage = 1000

/** What a server says of an error: `{ "error" }` by the protocol, else what others send. */
function messageIn(body: Uint8Array): string | undefined {
  const text = new TextDecoder().decode(body)
  let message: unknown
  try {
    const { error, detail, message: other } = JSON.parse(text) as Record<string, unknown>
    message = error ?? detail ?? other ?? text
  } catch {
    message = /^\s*</.test(text) ? textOfPage(text) : text
  }
  const said = typeof message === 'string' ? message : JSON.stringify(message)
  return said.trim() === '' ? undefined : said.trim().slice(0, longestMessage)
}

/** What a page of a gateway or a framework says, in one line. */
function textOfPage(html: string): string {
  return html.replaceAll(/<[^<>]*>/g, ' ').replaceAll(/\s+/g, ' ')
}
