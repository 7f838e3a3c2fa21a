import { Metadata, status, type StatusObject } from '@grpc/grpc-js'
import { asServingError, type ErrorCode, type ServingError } from '../../src/errors.js'
import { problemDetail } from '../../src/http/problem.js'
import type { Logger } from '../../src/logger.js'

/** The gRPC status of each error. */
export const statuses: Readonly<Record<ErrorCode, status>> = {
  INVALID_OPTIONS: status.INTERNAL,
  INVALID_CONFIG: status.INTERNAL,
  INVALID_REQUEST: status.INVALID_ARGUMENT,
  INVALID_INPUT: status.INVALID_ARGUMENT,
  MODEL_REQUIRED: status.INVALID_ARGUMENT,
  NOT_EXPOSED: status.PERMISSION_DENIED,
  UNAUTHORIZED: status.UNAUTHENTICATED,
  FORBIDDEN: status.PERMISSION_DENIED,
  ROUTE_NOT_FOUND: status.UNIMPLEMENTED,
  MODEL_NOT_FOUND: status.NOT_FOUND,
  VERSION_NOT_FOUND: status.NOT_FOUND,
  CONFLICT: status.FAILED_PRECONDITION,
  VALIDATION_FAILED: status.FAILED_PRECONDITION,
  ABORTED: status.CANCELLED,
  BODY_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  UNSUPPORTED_MEDIA_TYPE: status.INVALID_ARGUMENT,
  INVALID_MODEL: status.INTERNAL,
  INFERENCE_FAILED: status.INTERNAL,
  INVALID_CODEC: status.INTERNAL,
  SOURCE_UNAVAILABLE: status.UNAVAILABLE,
  REMOTE_UNAVAILABLE: status.UNAVAILABLE,
  RUNTIME_MISSING: status.UNAVAILABLE,
  MODEL_NOT_READY: status.UNAVAILABLE,
  QUEUE_FULL: status.UNAVAILABLE,
  OVERLOADED: status.UNAVAILABLE,
  WORKER_DIED: status.UNAVAILABLE,
  RUN_TIMEOUT: status.UNAVAILABLE,
  CLOSED: status.UNAVAILABLE,
  TIMEOUT: status.DEADLINE_EXCEEDED,
  INTERNAL: status.INTERNAL,
}

/** The code of the error is in the trailing metadata under this name. */
const codeKey = 'mlserving-code'

/**
 * The status that an error becomes. What is said of an INTERNAL one stays in the log, beside the request's id: it may
 * quote user code.
 * @param call `isTrusted` where whoever asks may read it all the same; of a defect the log alone tells
 */
export function statusOf(
  cause: unknown,
  { requestId, isTrusted }: { readonly requestId: string; readonly isTrusted: boolean },
  logger: Logger,
): Partial<StatusObject> {
  if (isStatus(cause)) return { ...cause, details: transportable(cause.details) }
  const error = asServingError(cause)
  if (!error.expose) logger.error({ err: error, requestId }, error.message)
  const expose = error.expose || (isTrusted && error.code !== 'INTERNAL')
  return {
    code: statuses[error.code],
    details: transportable(problemDetail({ expose, message: error.message })),
    metadata: trailersOf(error, requestId),
  }
}

/** Whether it is a status already: of the host's own code, which is asked who may do what. */
function isStatus(cause: unknown): cause is StatusObject {
  if (typeof cause !== 'object' || cause === null || !('code' in cause) || !('details' in cause)) return false
  const { code, details } = cause
  const { metadata } = cause as { readonly metadata?: unknown }
  return (
    typeof code === 'number' &&
    code > 0 &&
    code in status &&
    typeof details === 'string' &&
    (metadata === undefined || isMetadata(metadata))
  )
}

/** Not by its class: the host may have another copy of grpc-js. */
function isMetadata(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'clone' in value && 'toHttp2Headers' in value
}

function trailersOf({ code, headers }: ServingError, requestId: string): Metadata {
  const trailers = new Metadata()
  trailers.set('x-request-id', requestId)
  trailers.set(codeKey, code)
  for (const [name, value] of Object.entries(headers)) trailers.set(name, value)
  const seconds = Number(headers['retry-after'])
  // What clients heed that try again by themselves.
  if (seconds > 0) trailers.set('grpc-retry-pushback-ms', String(Math.ceil(seconds * 1000)))
  return trailers
}

/** Clients refuse an answer whose headers, in which this stands with every other letter as three, exceed 8 KiB. */
const longestDetails = 4096

function transportable(details: string): string {
  // Half a surrogate pair, which a cut may leave, can't be written.
  let text = Buffer.from(details).toString()
  while (encodeURI(text).length > longestDetails)
    text = `${Buffer.from(text.slice(0, text.length * 0.9)).toString()}...`
  return text
}
