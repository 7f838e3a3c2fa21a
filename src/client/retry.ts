import { InferenceError } from './inference-error.js'

const firstDelayMs = 100
const longestDelayMs = 5000

/** What a gateway or a server answers that is overloaded, or not up yet. */
const passingStatuses: readonly (number | undefined)[] = [429, 502, 503, 504]

/**
 * Whether another attempt may succeed and does no harm: no answer had begun, or the server says that it is the wrong
 * moment. Not what the caller ended.
 */
export function isWorthRetrying(error: unknown): boolean {
  if (!InferenceError.is(error)) return false
  if (error.code === 'CONNECTION_FAILED') return error.status === undefined
  return error.code === 'SERVER_ERROR' && passingStatuses.includes(error.status)
}

/**
 * The wait before an attempt: up to twice as long each time, a random part of it, so that clients do not come back
 * together; at least what the server asks for.
 * @param attempt of those that failed, from 0
 */
export function retryDelayMs(attempt: number, error: unknown, random = Math.random): number {
  const askedMs = InferenceError.is(error) ? (error.retryAfterMs ?? 0) : 0
  return Math.max(askedMs, random() * Math.min(longestDelayMs, firstDelayMs * 2 ** attempt))
}

/** What a `Retry-After` asks for: seconds, or a date. */
export function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined
  const seconds = Number(header)
  if (header.trim() !== '' && Number.isFinite(seconds)) return Math.max(0, seconds * 1000)
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}
