import { STATUS_CODES } from 'node:http'
import { asServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { TextResponse } from './exchange.js'

/**
 * An error as RFC 9457 problem details with our `code`. What a 500 says in detail stays in the log, beside the
 * request's id: it may quote user code.
 * @param isTrusted whether whoever asks may read it all the same; of a defect the log alone tells
 */
export function problem(cause: unknown, requestId: string, logger: Logger, isTrusted = false): TextResponse {
  const error = asServingError(cause)
  if (!error.expose) logger.error({ err: error, requestId }, error.message)
  const body = {
    type: 'about:blank',
    title: STATUS_CODES[error.status] ?? error.code,
    status: error.status,
    code: error.code,
    detail: problemDetail({
      expose: error.expose || (isTrusted && error.code !== 'INTERNAL'),
      message: error.message,
    }),
    request_id: requestId,
  }
  return {
    status: error.status,
    headers: {
      'content-type': 'application/problem+json; charset=utf-8',
      ...error.headers,
      'x-request-id': requestId,
    },
    body: JSON.stringify(body),
  }
}

/** A message may quote what the caller sent, by way of a schema; what comes back stays short. */
const maxDetailLength = 2000

/** What a caller may read of an error. */
export function problemDetail({
  expose,
  message,
}: {
  readonly expose: boolean
  readonly message: string
}): string {
  if (!expose) return 'The server failed; its log has the details under this request_id.'
  return message.length <= maxDetailLength ? message : `${message.slice(0, maxDetailLength)}...`
}
