import type { Feeds } from '../tensor/tensor.js'
import type { RunResult, Session } from './session.js'

/**
 * How long a run may hold up the event loop to be spared the hop to a thread: what some ten requests over HTTP cost it
 * anyway, and little beside the pauses of memory collection.
 */
const mostMs = 0.5

/** Runs one after another that came alone, before the next is taken for lone as well. */
const fewestAlone = 8

/** Runs seen before a second copy of the model is opened: a model that is to move inline as a whole does so before. */
const fewestRuns = 128

/** How much of an estimate the newest run is. */
const newestShare = 1 / 8

/** Runs one row inline. */
export type LoneRun = (feeds: Feeds) => Promise<RunResult>

/**
 * A second session of a model that serves in threads, inline, for the short runs of one row that come one by one. The
 * hop to a thread and back would cost such a run 30 to 100 microseconds, and there is nobody whom the event loop could
 * serve meanwhile. As soon as requests overlap the threads have all runs: there batches form while others compute.
 */
export class LoneRuns {
  readonly #open: () => Promise<Session>
  /** Milliseconds of one core that a row costs; 0 where none was seen. */
  #costMs = 0
  #seen = 0
  #running = 0
  #alone = 0
  #session: Session | undefined
  #opening: Promise<void> | undefined
  #isClosed = false

  /** @param open opens the model inline */
  constructor(open: () => Promise<Session>) {
    this.#open = open
  }

  /**
   * How to run one inline; undefined where it is to go to a thread.
   * @param others runs under way in threads
   */
  runFor(rows: number, others: number): LoneRun | undefined {
    const isAlone = rows === 1 && others === 0 && this.#running === 0
    this.#alone = isAlone ? this.#alone + 1 : 0
    const session = this.#session
    if (session === undefined || this.#alone <= fewestAlone || this.#costMs > mostMs) return undefined
    return (feeds) => this.#run(session, feeds)
  }

  async #run(session: Session, feeds: Feeds): Promise<RunResult> {
    this.#running++
    try {
      const result = await session.run(feeds)
      if (result.isRough !== true) this.#observe(result.computeMs)
      return result
    } finally {
      this.#running--
    }
  }

  /**
   * Counts a run in threads.
   * @param width the threads it had: inline it has one
   */
  inThreads(rows: number, computeMs: number, width: number): void {
    if (rows > 1) return
    this.#observe(computeMs * width)
    if (++this.#seen < fewestRuns || this.#isClosed || this.#opening !== undefined) return
    if (this.#costMs <= mostMs) this.#opening = this.#begin()
  }

  async #begin(): Promise<void> {
    try {
      const session = await this.#open()
      if (this.#isClosed) await session.close()
      else this.#session = session
    } catch {
      // The threads serve on alone. It is not tried again: what failed once in a model that has loaded is memory.
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#opening
    const session = this.#session
    this.#session = undefined
    await session?.close()
  }

  #observe(costMs: number): void {
    this.#costMs = this.#costMs === 0 ? costMs : this.#costMs + (costMs - this.#costMs) * newestShare
  }
}
