import { InferenceError } from '../client/inference-error.js'
import { asServingError, ServingError } from '../errors.js'

/** By the protocol these say that the request is wrong. */
const callersFault: readonly (number | undefined)[] = [400, 413, 415, 422]

/** By the protocol these say that the model failed. */
const modelsFault: readonly (number | undefined)[] = [500, 501]

/**
 * What a failed call means to whoever asked the model. The addresses of servers stay in the `cause`: they are not the
 * caller's to know.
 * @param label `model@version`, for messages
 */
export function servingErrorOf(label: string, error: unknown): ServingError {
  if (!InferenceError.is(error)) return asServingError(error, 'INTERNAL', label)
  const { code, status, serverMessage, retryAfterMs } = error
  const said = serverMessage === undefined ? '' : `: ${serverMessage}`
  const failed = (
    as: 'REMOTE_UNAVAILABLE' | 'RUN_TIMEOUT' | 'INFERENCE_FAILED' | 'INVALID_INPUT',
    text: string,
  ) =>
    new ServingError(as, `${label}: ${text}`, {
      cause: error,
      ...(retryAfterMs !== undefined && {
        headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) },
      }),
    })
  switch (code) {
    case 'ABORTED':
      return new ServingError('ABORTED', `${label}: nobody waits any more.`, { cause: error })
    case 'TIMEOUT':
      return failed('RUN_TIMEOUT', 'the remote server did not answer in time (attemptTimeoutMs).')
    case 'INVALID_REQUEST':
      return failed('INVALID_INPUT', error.message)
    case 'CONNECTION_FAILED':
      return failed('REMOTE_UNAVAILABLE', 'the remote server could not be reached, or hung up.')
    case 'SERVER_ERROR':
      if (callersFault.includes(status))
        return failed('INVALID_INPUT', `the remote server refused the input${said}`)
      if (modelsFault.includes(status)) return failed('INFERENCE_FAILED', `the remote model failed${said}`)
      return failed('REMOTE_UNAVAILABLE', `the remote server answered ${status ?? 'an error'}${said}`)
    case 'RESPONSE_TOO_LARGE':
      return failed('INFERENCE_FAILED', 'the remote server answered with more than maxResponseBytes.')
    default:
      return failed('REMOTE_UNAVAILABLE', 'the remote server gave no answer of the protocol.')
  }
}

/** Whether another server may do better: not where the input is at fault, or nobody waits. */
export function isServersFault(error: unknown): error is ServingError {
  return ServingError.is(error, 'REMOTE_UNAVAILABLE', 'RUN_TIMEOUT', 'INFERENCE_FAILED')
}
