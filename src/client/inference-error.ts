/** Why a call came to nothing; each says whether the server can have seen it. */
export type InferenceErrorCode =
  /** An option of the client is wrong. */
  | 'INVALID_OPTIONS'
  /** What was to be sent is wrong: it was not sent. */
  | 'INVALID_REQUEST'
  /** There was no connection, or it broke. */
  | 'CONNECTION_FAILED'
  /** The call's `timeoutMs` passed. */
  | 'TIMEOUT'
  /** The call's `signal` aborted. */
  | 'ABORTED'
  /** The server refused, or failed: see `status` and `serverMessage`. */
  | 'SERVER_ERROR'
  /** What the server sent is not what the protocol says. */
  | 'INVALID_RESPONSE'
  /** The server's answer is larger than `maxResponseBytes`. */
  | 'RESPONSE_TOO_LARGE'

const brand = Symbol.for('mlserving.inference-error')

export interface InferenceErrorDetails {
  readonly cause?: unknown
  /** The base URL, or the target of gRPC. */
  readonly endpoint?: string | undefined
  readonly model?: string | undefined
  readonly status?: number | undefined
  readonly serverMessage?: string | undefined
  readonly retryAfterMs?: number | undefined
}

/**
 * What every call of a client fails with. Check `code` and `status`, never the message or `instanceof`: the ESM and the
 * CJS copy of the package have classes of their own, and {@link InferenceError.is} recognises both.
 */
export class InferenceError extends Error {
  readonly code: InferenceErrorCode
  /** The server that was asked last, as its base URL. */
  readonly endpoint: string | undefined
  readonly model: string | undefined
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined
  /** The server's own words, where it had any. */
  readonly serverMessage: string | undefined
  /** How long the server asks to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined

  constructor(code: InferenceErrorCode, message: string, details: InferenceErrorDetails = {}) {
    const { cause, endpoint, model, status, serverMessage, retryAfterMs } = details
    const where = [model, endpoint].filter((part) => part !== undefined).join(' at ')
    super(where === '' ? message : `${where}: ${message}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.endpoint = endpoint
    this.model = model
    this.status = status
    this.serverMessage = serverMessage
    this.retryAfterMs = retryAfterMs
    Object.defineProperty(this, 'name', { value: 'InferenceError', configurable: true, writable: true })
    Object.defineProperty(this, brand, { value: true })
  }

  /** True for an InferenceError of any copy of the package, and of one of `codes` where any are given. */
  static is(error: unknown, ...codes: InferenceErrorCode[]): error is InferenceError {
    if (!(error instanceof Error) || !(brand in error)) return false
    return codes.length === 0 || (codes as readonly unknown[]).includes((error as { code?: unknown }).code)
  }
}
