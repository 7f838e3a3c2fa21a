import { ServingError } from '../errors.js'

/** What bounds a request's wait; all optional. */
export interface WaitLimits {
  readonly signal?: AbortSignal | undefined
  /** On the clock of `performance.now()`. */
  readonly deadlineMs?: number | undefined
}

/** The error of a limit that is already met. */
export function expired({ signal, deadlineMs }: WaitLimits, now: number): ServingError | undefined {
  if (signal?.aborted === true) return aborted(signal)
  return deadlineMs !== undefined && now >= deadlineMs ? timedOut() : undefined
}

/** Calls `onLimit` when a limit is met, until the returned function is called. */
export function watch(
  { signal, deadlineMs }: WaitLimits,
  now: number,
  onLimit: (error: ServingError) => void,
): () => void {
  const timer = deadlineMs === undefined ? undefined : setTimeout(() => end(timedOut()), deadlineMs - now)
  const onAbort = () => end(aborted(signal))
  signal?.addEventListener('abort', onAbort, { once: true })
  const stop = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  const end = (error: ServingError) => {
    stop()
    onLimit(error)
  }
  return stop
}

function aborted(signal?: AbortSignal): ServingError {
  return new ServingError('ABORTED', 'the request was aborted by its caller', { cause: signal?.reason })
}

function timedOut(): ServingError {
  return new ServingError('TIMEOUT', 'the deadline passed before the answer was there')
}
