/** What a failure means to a caller: the HTTP status it becomes and whether sending the same request again may help. */
interface ErrorKind {
  readonly status: number
  readonly retryable: boolean
  readonly meaning: string
}

/**
 * Every error mlserving throws, by code. `docs/errors.md` is checked against this table.
 *
 * A code is part of the public API: it may be added, never renamed. The metric label `status` takes its
 * values from {@link metricStatus}, so the set of label values is as bounded as this table.
 */
export const errorTable = {
  INVALID_OPTIONS: {
    status: 500,
    retryable: false,
    meaning: 'An option of createServing, onnx() or an adapter is wrong.',
  },
  INVALID_CONFIG: {
    status: 500,
    retryable: false,
    meaning: 'A model.json is not valid JSON or has a wrong entry.',
  },
  INVALID_REQUEST: {
    status: 400,
    retryable: false,
    meaning: 'The request as a whole is malformed: its body, JSON, headers or options.',
  },
  INVALID_INPUT: { status: 400, retryable: false, meaning: 'The input does not fit what the model expects.' },
  MODEL_REQUIRED: {
    status: 400,
    retryable: false,
    meaning: 'The request names no model and there is no single or default one.',
  },
  NOT_EXPOSED: {
    status: 403,
    retryable: false,
    meaning: "Over HTTP nothing would check the input before the model's own code has it.",
  },
  UNAUTHORIZED: {
    status: 401,
    retryable: false,
    meaning: 'An admin route was asked without a token that counts.',
  },
  FORBIDDEN: {
    status: 403,
    retryable: false,
    meaning: 'The host does not let this caller use admin routes.',
  },
  ROUTE_NOT_FOUND: {
    status: 404,
    retryable: false,
    meaning: 'No route of that method and path; only the fetch door says so.',
  },
  MODEL_NOT_FOUND: { status: 404, retryable: false, meaning: 'No model of that name.' },
  VERSION_NOT_FOUND: {
    status: 404,
    retryable: false,
    meaning: 'The model has no such version, or it is not loaded.',
  },
  CONFLICT: { status: 409, retryable: false, meaning: 'The change does not fit the state the model is in.' },
  VALIDATION_FAILED: {
    status: 422,
    retryable: false,
    meaning: 'The version does not do as its validation asks; the message gives the figures.',
  },
  ABORTED: {
    status: 499,
    retryable: false,
    meaning: 'The caller hung up or aborted before the answer was there.',
  },
  BODY_TOO_LARGE: {
    status: 413,
    retryable: false,
    meaning: 'The request body, inflated, is larger than maxBodyBytes.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    meaning: 'The request body has a content type or encoding that is not served.',
  },
  INVALID_MODEL: {
    status: 500,
    retryable: false,
    meaning: 'The artifact is broken, or would be unsafe to run.',
  },
  INFERENCE_FAILED: { status: 500, retryable: false, meaning: 'The model itself failed on this input.' },
  INVALID_CODEC: {
    status: 500,
    retryable: false,
    meaning: "The model's encode, decode or task failed or does not fit the model.",
  },
  SOURCE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    meaning: 'The artifact could not be fetched from where it lies, or kept on disk.',
  },
  REMOTE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    meaning: 'No server that a remote model lies on answered as it should.',
  },
  RUNTIME_MISSING: {
    status: 503,
    retryable: false,
    meaning: 'onnxruntime-node is not installed, or has no build for this platform.',
  },
  MODEL_NOT_READY: {
    status: 503,
    retryable: true,
    meaning: 'The model has no version that can serve; the message says why.',
  },
  QUEUE_FULL: {
    status: 503,
    retryable: true,
    meaning: 'The queue of the version is full; the request was refused at once.',
  },
  OVERLOADED: {
    status: 503,
    retryable: true,
    meaning: 'The deadline can not be met, or the event loop is behind; the request was refused at once.',
  },
  WORKER_DIED: {
    status: 503,
    retryable: true,
    meaning: 'The worker that ran the request ended before it answered.',
  },
  RUN_TIMEOUT: {
    status: 503,
    retryable: true,
    meaning: 'The run took longer than runTimeoutMs and was given up.',
  },
  CLOSED: { status: 503, retryable: false, meaning: 'The serving is closing or closed.' },
  TIMEOUT: { status: 504, retryable: true, meaning: 'The deadline passed before the answer was there.' },
  INTERNAL: { status: 500, retryable: false, meaning: 'A defect in mlserving or in code it called.' },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

const brand = Symbol.for('mlserving.error')

export interface ServingErrorOptions {
  readonly cause?: unknown
  /** Headers an HTTP door adds to the answer, such as `retry-after`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * The one error class. Check `code`, never the message or `instanceof`: the ESM and the CJS copy of the
 * package have classes of their own, and {@link ServingError.is} recognises both.
 *
 * `status`, `statusCode`, `expose` and `headers` are what the error handlers of Express and Fastify read.
 */
export class ServingError<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C
  readonly status: number
  readonly statusCode: number
  readonly retryable: boolean
  readonly expose: boolean
  readonly headers: Readonly<Record<string, string>>

  constructor(code: C, message: string, options: ServingErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const kind: ErrorKind = errorTable[code]
    this.code = code
    this.status = this.statusCode = kind.status
    this.retryable = kind.retryable
    // A 500 may carry the text of user code or of a file's content; its message stays in logs.
    this.expose = kind.status !== 500
    this.headers = options.headers ?? {}
    Object.defineProperty(this, 'name', { value: 'ServingError', configurable: true, writable: true })
    Object.defineProperty(this, brand, { value: true })
  }

  /** True for a ServingError of any copy of the package, and of one of `codes` where any are given. */
  static is<const Codes extends ErrorCode[]>(
    error: unknown,
    ...codes: Codes
  ): error is ServingError<Codes extends [] ? ErrorCode : Codes[number]> {
    if (!(error instanceof Error) || !(brand in error)) return false
    return (
      codes.length === 0 || (codes as readonly string[]).includes(String((error as { code?: unknown }).code))
    )
  }
}

/** The ServingError that `error` is, or one of `code` around it. */
export function asServingError(error: unknown, code: ErrorCode = 'INTERNAL', context?: string): ServingError {
  if (ServingError.is(error)) return error
  const reason = messageOf(error)
  return new ServingError(code, context === undefined ? reason : `${context}: ${reason}`, { cause: error })
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `status` label of `model_requests_total`: `success`, or the error's code in lower case. */
export function metricStatus(error?: ServingError): string {
  return error === undefined ? 'success' : error.code.toLowerCase()
}
