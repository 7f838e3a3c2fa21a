import type * as Grpc from '@grpc/grpc-js'
import { InferenceError } from '../client/inference-error.js'
import { retryAfterMs } from '../client/retry.js'

/** The HTTP statuses that those of gRPC stand for, as the protocol's servers use them. */
const httpStatuses: Partial<Record<keyof typeof Grpc.status, number>> = {
  INVALID_ARGUMENT: 400,
  OUT_OF_RANGE: 400,
  FAILED_PRECONDITION: 409,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  RESOURCE_EXHAUSTED: 429,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
}

/** What implementations of gRPC say of a message, by the status that means overload otherwise. */
const tooLarge = /larger than max|exceeds maximum/i

/** What a call failed with. @param about the endpoint and the model */
export function grpcErrorOf(
  { status }: typeof Grpc,
  error: Grpc.ServiceError,
  about: { readonly endpoint: string; readonly model: string },
  signal: AbortSignal | undefined,
): InferenceError {
  const { code, details, metadata } = error
  if (signal?.aborted === true)
    return new InferenceError('ABORTED', 'the caller aborted the call', { ...about, cause: signal.reason })
  if (code === status.DEADLINE_EXCEEDED)
    return new InferenceError('TIMEOUT', 'no answer within the deadline', { ...about, cause: error })
  const name = status[code] as keyof typeof status
  // What a server says has its headers with it; what never reached one has none.
  const isServers = Object.keys(metadata.getMap()).length > 0
  if ((code === status.UNAVAILABLE || code === status.CANCELLED) && !isServers)
    return new InferenceError('CONNECTION_FAILED', `no connection: ${details}`, { ...about, cause: error })
  const isTooLarge = code === status.RESOURCE_EXHAUSTED && tooLarge.test(details)
  if (isTooLarge && !isServers)
    return new InferenceError('RESPONSE_TOO_LARGE', `${details} (maxResponseBytes)`, {
      ...about,
      cause: error,
    })
  const [pause] = metadata.get('retry-after')
  return new InferenceError('SERVER_ERROR', `${name}: ${details}`, {
    ...about,
    cause: error,
    status: isTooLarge ? 413 : (httpStatuses[name] ?? 500),
    serverMessage: details,
    retryAfterMs: retryAfterMs(pause === undefined ? null : String(pause)),
  })
}
