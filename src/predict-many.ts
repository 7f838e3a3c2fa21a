import { setMaxListeners } from 'node:events'
import type { PredictOptions } from './predict.js'

export interface PredictManyOptions extends Omit<PredictOptions, 'requestId' | 'whenFull'> {
  /** Predictions that may be under way at once; the next input is taken when one has ended. Default: 64. */
  readonly maxInFlight?: number
}

/**
 * Answers for inputs, in their order. No more than `maxInFlight` are taken ahead of the caller, so that a source of
 * any length costs bounded memory, and where the queue is full they wait for room.
 *
 * A failure ends the iteration and what is still under way, and so does a caller that stops early; either way the
 * source is closed.
 */
export async function* predictMany<I, A>(
  inputs: Iterable<I> | AsyncIterable<I>,
  predict: (input: I, options: PredictOptions) => Promise<A>,
  { maxInFlight = 64, signal: given, ...options }: PredictManyOptions = {},
): AsyncGenerator<A, void, undefined> {
  const ended = new AbortController()
  const signal = given === undefined ? ended.signal : AbortSignal.any([ended.signal, given])
  setMaxListeners(0, signal)
  const source = iteratorOf(inputs)
  const underWay: Promise<A>[] = []
  let isExhausted = false
  try {
    for (;;) {
      while (!isExhausted && underWay.length < maxInFlight) {
        const next = await source.next()
        if (next.done === true) {
          isExhausted = true
        } else {
          const answer = predict(next.value, { ...options, signal, whenFull: 'wait' })
          answer.catch(() => {}) // told when its turn comes, unless an earlier failure ended everything
          underWay.push(answer)
        }
      }
      const answer = underWay.shift()
      if (answer === undefined) return
      yield await answer
    }
  } finally {
    ended.abort()
    await Promise.allSettled(underWay)
    if (!isExhausted) await source.return?.()
  }
}

function iteratorOf<I>(inputs: Iterable<I> | AsyncIterable<I>): AsyncIterator<I> | Iterator<I> {
  return Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]()
}
