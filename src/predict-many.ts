import { setMaxListeners } from 'node:events'
import { ServingError } from './errors.js'
import { integer, type Fields } from './options.js'
import { predictFields, type PredictOptions } from './prediction.js'

export interface PredictManyOptions extends Omit<PredictOptions, 'requestId' | 'whenFull'> {
  /** Predictions that may be under way at once; the next input is taken when one has ended. Default: 64. */
  readonly maxInFlight?: number
}

const { requestId: _, whenFull: __, ...sharedFields } = predictFields
export const predictManyFields: Fields<PredictManyOptions> = {
  ...sharedFields,
  maxInFlight: integer(1, 100_000),
}

/**
 * Answers for inputs, in their order. No more than `maxInFlight` are taken ahead of the caller, so that a source of
 * any length costs bounded memory, and where the queue is full they wait for room. An answer is given as soon as it is
 * there, whether the source has more to say or not.
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
  const aborted = abortOf(signal)
  const source = iteratorOf(inputs)
  const underWay: Promise<A>[] = []
  let isExhausted = false
  /** The next input, while the source is asked for it. */
  let asked: Promise<IteratorResult<I>> | undefined
  try {
    for (;;) {
      if (asked === undefined && !isExhausted && underWay.length < maxInFlight) {
        asked = Promise.resolve(source.next())
      }
      const [head] = underWay
      if (asked === undefined && head === undefined) return
      const first = await Promise.race([
        ...(asked === undefined ? [] : [asked.then(() => 'input' as const)]),
        ...(head === undefined ? [] : [head.then(isAnswer, isAnswer)]),
        aborted,
      ])
      if (first === 'input' && asked !== undefined) {
        const next = await asked
        asked = undefined
        if (next.done === true) isExhausted = true
        else underWay.push(begin(next.value))
      } else if (head !== undefined) {
        void underWay.shift()
        yield await head
      }
    }
  } finally {
    ended.abort()
    await Promise.allSettled(underWay)
    // A source that is asked for its next input closes once it has given it, which nobody waits for.
    const closing = isExhausted ? undefined : Promise.resolve(source.return?.())
    if (asked === undefined) await closing
    else closing?.catch(() => {})
  }

  function begin(input: I): Promise<A> {
    const answer = predict(input, { ...options, signal, whenFull: 'wait' })
    answer.catch(() => {}) // told when its turn comes, unless an earlier failure ended everything
    return answer
  }
}

const isAnswer = () => 'answer' as const

/** Rejects with the abort of a signal. */
function abortOf(signal: AbortSignal): Promise<never> {
  const aborted = new Promise<never>((_, reject) => {
    const abort = () =>
      reject(new ServingError('ABORTED', 'the predictions were aborted', { cause: signal.reason }))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
  aborted.catch(() => {}) // the end of the iteration aborts as well, when nobody listens any more
  return aborted
}

function iteratorOf<I>(inputs: Iterable<I> | AsyncIterable<I>): AsyncIterator<I> | Iterator<I> {
  return Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]()
}
