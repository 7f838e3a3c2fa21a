import { batchedFeeds } from '../batching/feeds-batch.js'
import { checkNeighbours } from '../batching/neighbour-check.js'
import type { Session } from '../execution/session.js'
import type { BatchingOptions } from './model-config.js'

/** Whether requests may share a run, and who says so. */
export interface BatchSafety {
  readonly safe: boolean
  /**
   * `declared` by the user; `proven` by the graph, and by runs beside other rows; `refused` since either showed that
   * rows may affect each other; `unproven` as yet, or where it could not be found out.
   */
  readonly by: 'declared' | 'proven' | 'refused' | 'unproven'
  /** For people. */
  readonly reason: string
}

/** A verdict that may still be on its way. */
export interface BatchProof {
  /** As far as is known by now. */
  readonly verdict: BatchSafety
  /** The last verdict; never rejects. */
  readonly settled: Promise<BatchSafety>
}

/** Whether batching is the user's own claim. */
export function isDeclared(batching: boolean | BatchingOptions | undefined): boolean {
  return batching === true || (typeof batching === 'object' && batching.safe === true)
}

/** What nothing has to prove. */
export function statedSafety(verdict: BatchSafety): BatchProof {
  return { verdict, settled: Promise.resolve(verdict) }
}

/** The longest run that is tried, in milliseconds: those of slower models gain nothing by batches, and hold up requests. */
const longestRunMs = 100

/** The batches that are tried take up to four times as long as a row: with some to spare, so much of a run's time. */
const mostOfTimeout = 1 / 8

/**
 * Finds out whether rows of a model affect each other: first by what was found in its graph, then by a few runs in the
 * background, between those of requests. Both have to speak for it.
 */
export class AutomaticProof implements BatchProof {
  readonly settled: Promise<BatchSafety>
  readonly #longestRowMs: number
  #verdict: BatchSafety = unproven('rows are being run beside others')

  /**
   * @param session has been inspected, and takes a row for each request
   * @param runTimeoutMs a longer run would end the session. Default: none does.
   */
  constructor(session: Pick<Session, 'signature' | 'inspection' | 'run'>, runTimeoutMs = Infinity) {
    this.#longestRowMs = Math.min(longestRunMs, runTimeoutMs * mostOfTimeout)
    this.settled = this.#prove(session).then((verdict) => (this.#verdict = verdict))
  }

  get verdict(): BatchSafety {
    return this.#verdict
  }

  async #prove(session: Pick<Session, 'signature' | 'inspection' | 'run'>): Promise<BatchSafety> {
    const { signature, inspection } = session
    if (inspection === undefined) return unproven('the graph was not looked at')
    if (inspection.coupling !== undefined) return { safe: false, by: 'refused', reason: inspection.coupling }
    let tooLong: Error | undefined
    const { verdict, reason } = await checkNeighbours(async (feeds) => {
      if (tooLong !== undefined) throw tooLong
      const rows = batchedFeeds.rows(feeds)
      const { outputs, computeMs } = await session.run(feeds)
      const limitMs = rows === 1 ? this.#longestRowMs : longestRunMs
      if (computeMs <= limitMs) return outputs
      throw (tooLong = new Error(
        `one takes ${computeMs.toFixed(1)} ms, and more than ${limitMs} are not tried`,
      ))
    }, signature)
    if (verdict === 'unknown') return unproven(reason)
    return { safe: verdict === 'independent', by: verdict === 'independent' ? 'proven' : 'refused', reason }
  }
}

function unproven(reason: string): BatchSafety {
  return { safe: false, by: 'unproven', reason }
}
