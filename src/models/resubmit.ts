import type { BatchAnswer } from '../batching/batch-run.js'
import { ServingError } from '../errors.js'
import { NotBegun } from '../execution/session.js'
import type { PipelineLimits } from './pipeline-runs.js'
import type { Lease } from './lease.js'

/**
 * Runs feeds, and runs them again where the worker that had them died: as often as the version's `retries` say, each
 * time alone, so that a request that ends its worker takes no others with it. A death before its run began costs no
 * retry. Where the version is loaded anew in the meantime, that is waited for.
 *
 * @param again a lease on the version, once it serves again
 * @throws ServingError what the last attempt, or `again`, throws
 */
export async function submitWithRetries(
  { batcher, retries }: Lease,
  feeds: unknown,
  limits: PipelineLimits,
  again: () => Promise<Lease>,
): Promise<BatchAnswer<unknown>> {
  let left = retries
  let alone = false
  let lease: Lease | undefined
  try {
    for (;;) {
      try {
        return await (lease?.batcher ?? batcher).submit(feeds, { ...limits, alone })
      } catch (error) {
        if (!ServingError.is(error, 'WORKER_DIED', 'MODEL_NOT_READY')) throw error
        const hasRun = ServingError.is(error, 'WORKER_DIED') && !(error instanceof NotBegun)
        if (hasRun && left-- === 0) throw error
        alone ||= hasRun
      }
      lease?.release()
      lease = undefined
      lease = await again()
    }
  } finally {
    lease?.release()
  }
}
