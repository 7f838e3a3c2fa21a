import { randomUUID } from 'node:crypto'
import type { HttpRequest } from './exchange.js'

/** Ids that are safe to log and to echo. */
export const safeRequestId = /^[\w.-]{1,128}$/

/** The caller's id where it is a safe one, else a new one. */
export function requestIdOf(headers: HttpRequest['headers']): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && safeRequestId.test(given) ? given : randomUUID()
}
