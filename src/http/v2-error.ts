import { asServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { json, type TextResponse } from './exchange.js'
import { problemDetail } from './problem.js'

/** An error as the Open Inference Protocol has it: `{"error": "..."}`. What a 500 says in detail stays in the log. */
export function v2Error(cause: unknown, requestId: string, logger: Logger, isTrusted = false): TextResponse {
  const error = asServingError(cause)
  if (!error.expose) logger.error({ err: error, requestId }, error.message)
  const expose = error.expose || (isTrusted && error.code !== 'INTERNAL')
  const message = expose
    ? problemDetail({ expose, message: error.message })
    : `the server failed; its log has the details under the request's id, ${requestId}.`
  return json(error.status, { error: message }, error.headers)
}
