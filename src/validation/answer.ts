import { ServingError } from '../errors.js'
import type { Outcome } from '../models/classification.js'
import type { Lease } from '../models/lease.js'

/** What answers an input: of a lease, all but its end. */
export type Answering = Pick<Lease, 'codec' | 'batcher' | 'isPipeline'>

export interface TimedOutcome {
  readonly outcome: Outcome
  /** From the input to the outcome. */
  readonly latencyMs: number
}

/**
 * An answer by a version's own codec and queue, past its cache. Requests of callers go first.
 * @throws ServingError as a prediction does
 */
export async function answer(
  { codec, batcher }: Answering,
  input: unknown,
  signal?: AbortSignal,
): Promise<TimedOutcome> {
  const startedAt = performance.now()
  const encoded = await codec.encode(input, signal)
  const { result } = await batcher.submit(codec.own(encoded), { signal, priority: 2, whenFull: 'wait' })
  const outcome = await codec.decode(result, encoded, false)
  return { outcome, latencyMs: performance.now() - startedAt }
}

/** @throws ServingError CONFLICT for a pipeline, which asks models in the name of a caller */
export function refusePipeline(label: string, { isPipeline }: Answering): void {
  if (!isPipeline) return
  throw new ServingError('CONFLICT', `${label} is a pipeline: validate and compare the models that it asks.`)
}
