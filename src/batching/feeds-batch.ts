import { ServingError } from '../errors.js'
import type { Session } from '../execution/session.js'
import { ownBuffers } from '../tensor/slab.js'
import { bytesOf, concatRows, copyRows, signatureOf, sliceRows } from '../tensor/batch.js'
import { describeShape, type Feeds } from '../tensor/tensor.js'
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

/** For a model without a batch axis: every request is a run of its own. */
export const wholeFeeds: Batchable<Feeds, Feeds> = { ...batchedFeeds, rows: () => 1, signature: () => '' }

/**
 * A session as what runs batches.
 * @param isBatching whether requests are joined by now: then every output must have a row for each of theirs
 */
export function executorOf(session: Session, isBatching: () => boolean): Executor<Feeds, Feeds> {
  return {
    get slots() {
      return session.slots
    },
    get width() {
      return session.width
    },
    run: async (feeds) => {
      const rows = batchedFeeds.rows(feeds)
      // A session with threads of its own is given the buffers themselves.
      const { outputs, computeMs, isRough } = await session.run(session.width > 0 ? ownBuffers(feeds) : feeds)
      if (isBatching()) checkRows(outputs, rows)
      return { result: outputs, computeMs, isRough }
    },
  }
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
