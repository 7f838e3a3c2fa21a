import { ServingError } from '../errors.js'
import type { AnyPlace, Session } from '../execution/session.js'
import { ownBuffers } from '../tensor/slab.js'
import { bytesOf, concatRows, copyRows, signatureOf, sliceRows } from '../tensor/batch.js'
import { copyOf, describeShape, elementCount, emptyLike, type Feeds, type Tensor } from '../tensor/tensor.js'
import type { Batchable, Executor } from './executor.js'

/** How feeds are joined and outputs cut, for a model with a batch axis. */
export const batchedFeeds: Batchable<Feeds, Feeds> = {
  rows: (feeds) => {
    for (const name in feeds) return feeds[name]?.shape[0] ?? 1
    return 1
  },
  bytes: bytesOf,
  rowElements: () => 0,
  signature: signatureOf,
  concat: concatRows,
  slice: copyRows,
  sliceResult: sliceRows,
  concatResults: concatRows,
}

/** For a model whose rows are all of one shape: any two requests share a batch. */
export const uniformFeeds: Batchable<Feeds, Feeds> = { ...batchedFeeds, signature: () => '' }

/** Where a run is bound by its elements, and so has to count them. */
export function countingElements(batchable: Batchable<Feeds, Feeds>): Batchable<Feeds, Feeds> {
  return { ...batchable, rowElements: elementsOfRow }
}

/** Elements of one row, of all inputs together. */
export function elementsOfRow(feeds: Feeds): number {
  let elements = 0
  for (const name in feeds) elements += elementCount(feeds[name]?.shape.slice(1) ?? [])
  return elements
}

/** For a model without a batch axis: every request is a run of its own. */
export const wholeFeeds: Batchable<Feeds, Feeds> = { ...batchedFeeds, rows: () => 1, signature: () => '' }

export interface FeedsExecutorOptions {
  /** Whether requests are joined by now: then every output must have a row for each of theirs. */
  readonly isBatching: () => boolean
  /** Whether a run leaves its feeds as they are, for another run with them. Default: false. */
  readonly keepsFeeds?: boolean
  /** Throws where the outputs of a run can't be cut for its requests. */
  readonly checkOutputs?: ((feeds: Feeds, outputs: Feeds) => void) | undefined
}

/** A session, wherever it runs. */
type AnySession = Pick<Session, 'slots' | 'width' | 'mayHang' | 'run'> & { readonly placement: AnyPlace }

/** A session as what runs batches. */
export function executorOf(
  session: AnySession,
  { isBatching, keepsFeeds = false, checkOutputs }: FeedsExecutorOptions,
): Executor<Feeds, Feeds> {
  /** What the session may take: a thread is given the buffers themselves, a process copies them anyway. */
  const given = (feeds: Feeds): Feeds => {
    if (session.width === 0 || session.placement === 'process') return feeds
    return keepsFeeds ? copied(feeds) : ownBuffers(feeds)
  }
  return {
    get slots() {
      return session.slots
    },
    get width() {
      return session.width
    },
    ...(session.mayHang !== undefined && { mayHang: session.mayHang }),
    run: async (feeds, context) => {
      const rows = batchedFeeds.rows(feeds)
      const { outputs, computeMs, isRough } = await session.run(given(feeds), context)
      if (isBatching()) checkRows(outputs, rows)
      checkOutputs?.(feeds, outputs)
      return { result: outputs, computeMs, isRough }
    },
  }
}

function copied(feeds: Feeds): Feeds {
  const copy = emptyLike<Tensor>(feeds)
  for (const [name, tensor] of Object.entries(feeds)) {
    copy[name] = { ...tensor, data: copyOf(tensor.data) } as Tensor
  }
  return copy
}

function checkRows(outputs: Feeds, rows: number): void {
  for (const [name, { shape }] of Object.entries(outputs)) {
    if (shape[0] === rows) continue
    throw new ServingError(
      'INVALID_CODEC',
      `output "${name}" has the shape ${describeShape(shape)} for ${rows} rows: its requests can't be told apart. Leave batching off.`,
    )
  }
}
