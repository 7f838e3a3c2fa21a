import type { BatchAnswer } from './batch-run.js'
import type { Batchable } from './executor.js'

/**
 * Runs a request above the cap as parts, one by one or beside each other, and joins their answers; one that fails
 * ends the others.
 *
 * @param maxRows of a part
 * @param submit takes one part, with a signal that ends it
 * @throws what the first part to fail throws, once all have ended
 */
export async function submitInParts<I, R>(
  batchable: Batchable<I, R>,
  input: I,
  maxRows: number,
  { signal }: { readonly signal?: AbortSignal | undefined },
  submit: (part: I, limits: { readonly signal: AbortSignal }) => Promise<BatchAnswer<R>>,
): Promise<BatchAnswer<R>> {
  const group = new AbortController()
  const limits = { signal: signal === undefined ? group.signal : AbortSignal.any([group.signal, signal]) }
  const rows = batchable.rows(input)
  const parts: Promise<BatchAnswer<R>>[] = []
  for (let from = 0; from < rows; from += maxRows) {
    parts.push(submit(batchable.slice(input, from, Math.min(rows, from + maxRows)), limits))
  }
  try {
    const answers = await Promise.all(parts)
    return {
      result: batchable.concatResults(answers.map((answer) => answer.result)),
      queueMs: answers[0]?.queueMs ?? 0,
      computeMs: answers.reduce((sum, answer) => sum + answer.computeMs, 0),
      batchRows: Math.max(...answers.map((answer) => answer.batchRows)),
    }
  } catch (error) {
    group.abort()
    await Promise.allSettled(parts)
    throw error
  }
}
