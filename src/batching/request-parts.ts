import type { Size } from './admission.js'
import type { BatchAnswer } from './batch-run.js'
import type { Batchable } from './executor.js'

export interface PartsOptions {
  /** The most rows of a part. */
  readonly partRows: number
  /** How many parts are handed in at once; another follows when one is answered. */
  readonly atOnce: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs a request as parts, a few beside each other, and joins their answers; one that fails ends the others.
 *
 * @param submit takes one part, with a signal that ends it
 * @throws what the first part to fail throws, once all that were handed in have ended
 */
export async function submitInParts<I, R>(
  batchable: Batchable<I, R>,
  input: I,
  { partRows, atOnce, signal }: PartsOptions,
  submit: (part: I, limits: { readonly signal: AbortSignal }) => Promise<BatchAnswer<R>>,
): Promise<BatchAnswer<R>> {
  const group = new AbortController()
  const limits = { signal: signal === undefined ? group.signal : AbortSignal.any([group.signal, signal]) }
  const rows = batchable.rows(input)
  const answers: BatchAnswer<R>[] = []
  let from = 0
  let handedIn = 0
  const handIn = async () => {
    while (from < rows && !group.signal.aborted) {
      const part = batchable.slice(input, from, Math.min(rows, from + partRows))
      const place = handedIn++
      from += partRows
      answers[place] = await submit(part, limits)
    }
  }
  const lines = Array.from({ length: atOnce }, handIn)
  try {
    await Promise.all(lines)
  } catch (error) {
    group.abort()
    await Promise.allSettled(lines)
    throw error
  }
  return {
    result: batchable.concatResults(answers.map((answer) => answer.result)),
    queueMs: answers[0]?.queueMs ?? 0,
    computeMs: answers.reduce((sum, answer) => sum + answer.computeMs, 0),
    batchRows: answers.reduce((most, answer) => Math.max(most, answer.batchRows), 0),
  }
}

/** What one request that was split has still to hand in. */
interface ToCome {
  /** A part was handed in. */
  came(part: Size): void
  /** No other part will be. */
  end(): void
}

/** Parts that are still to be handed in, of all requests that were split: they wait as those in the queue do. */
export class PartsToCome implements Size {
  rows = 0
  bytes = 0

  /** @param whole the request. Default: it is not counted. */
  add({ rows, bytes }: Size = { rows: 0, bytes: 0 }): ToCome {
    this.rows += rows
    this.bytes += bytes
    const take = (part: Size) => {
      const [fewerRows, fewerBytes] = [Math.min(rows, part.rows), Math.min(bytes, part.bytes)]
      rows -= fewerRows
      bytes -= fewerBytes
      this.rows -= fewerRows
      this.bytes -= fewerBytes
    }
    return { came: take, end: () => take({ rows, bytes }) }
  }
}
