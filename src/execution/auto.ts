import { Backoff } from '../backoff.js'
import { type Clock, systemClock } from '../clock.js'
import { ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { RunCosts } from './run-costs.js'
import type { Place, RunResult, Session } from './session.js'

export interface AutoOptions {
  /** Rows of the largest batch that is to be expected. */
  readonly maxRows: number
  readonly clock?: Clock
}

/** A batch at the row cap may cost this much where it blocks the event loop, in milliseconds: about a hop to a worker. */
const cheapMs = 0.05

/** From here on a run inline is too dear; apart from {@link cheapMs}, lest noise move a session to and fro. */
const dearMs = 0.1

/** The wait before a session that had to leave the event loop may come back; it doubles each time. */
const firstReturnMs = 1000

/** A session at one place, with the runs it was handed. */
class Stage {
  #running = 0
  #idle: (() => void) | undefined

  constructor(readonly session: Session) {}

  async run(feeds: Feeds): Promise<RunResult> {
    this.#running++
    try {
      return await this.session.run(feeds)
    } finally {
      if (--this.#running === 0) this.#idle?.()
    }
  }

  /** Settles once all the runs that were handed over are answered; undefined where there are none. */
  idle(): Promise<void> | undefined {
    return this.#running === 0 ? undefined : new Promise((resolve) => (this.#idle = resolve))
  }
}

/**
 * A session that starts in a thread, moves inline where its runs prove to cost less than the hop to a worker, and
 * back where they grow dear.
 *
 * It moves while it serves: the session at the new place is opened in the background, takes over once what the
 * one left behind was handed is answered, and that one is closed. Each return inline waits twice as long as the one
 * before, so that the moves of a session are few, however its costs swing.
 */
export class AutoSession implements Session {
  readonly died: Promise<ServingError>
  #die: (reason: ServingError) => void = () => {}
  readonly #open: (place: Place) => Promise<Session>
  readonly #maxRows: number
  readonly #clock: Clock
  readonly #costs: RunCosts
  /** When each place may be moved to, and how long the wait is after the next failure there. */
  readonly #waits: Readonly<Record<Place, { until: number; readonly backoff: Backoff }>>
  #stage: Stage
  #dead = false
  /** What a row costs at the cap, by what was measured in the thread, in milliseconds. */
  #rowMs = 0
  /** Set while runs wait for the session that was left behind. */
  #gate: Promise<void> | undefined
  #moving: Promise<void> | undefined
  #closing: Promise<void> | undefined

  private constructor(session: Session, open: (place: Place) => Promise<Session>, options: AutoOptions) {
    const { maxRows, clock = systemClock } = options
    const wait = () => ({
      until: -Infinity,
      backoff: new Backoff({ firstMs: firstReturnMs, longestMs: Infinity }),
    })
    this.#open = open
    this.#maxRows = maxRows
    this.#clock = clock
    this.#costs = new RunCosts(maxRows)
    this.#waits = { thread: wait(), process: wait(), inline: wait() }
    this.died = new Promise((resolve) => (this.#die = resolve))
    this.#stage = this.#enter(session)
  }

  /**
   * @param open opens a session of the one artifact at a place
   * @throws what `open` throws
   */
  static async create(open: (place: Place) => Promise<Session>, options: AutoOptions): Promise<AutoSession> {
    return new AutoSession(await open('thread'), open, options)
  }

  get signature() {
    return this.#stage.session.signature
  }

  get providers() {
    return this.#stage.session.providers
  }

  get warnings() {
    return this.#stage.session.warnings
  }

  get placement() {
    return this.#stage.session.placement
  }

  get slots() {
    return this.#stage.session.slots
  }

  get width() {
    return this.#stage.session.width
  }

  async run(feeds: Feeds): Promise<RunResult> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the session is closed')
    const stage = this.#stage
    const rows = this.#rowsOf(feeds)
    if (stage.session.placement === 'inline' && rows > this.#maxRows && rows * this.#rowMs > dearMs) {
      this.#move('thread')
    }
    const result = await (this.#gate === undefined
      ? stage.run(feeds)
      : this.#gate.then(() => stage.run(feeds)))
    if (stage === this.#stage && result.isRough !== true)
      this.#observe(stage.session.placement, rows, result.computeMs)
    return result
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await this.#moving
    await this.#stage.session.close()
  }

  #rowsOf(feeds: Feeds): number {
    const first = this.signature.inputs[0]
    if (typeof first?.shape[0] !== 'string') return 1
    return feeds[first.name]?.shape[0] ?? 1
  }

  #observe(place: Place, rows: number, computeMs: number): void {
    if (place === 'inline') {
      if (this.#costs.isDear(computeMs, dearMs)) this.#move('thread')
      return
    }
    const capMs = this.#costs.atCap(rows, computeMs)
    if (capMs === undefined || capMs > cheapMs) return
    this.#rowMs = capMs / this.#maxRows
    this.#move('inline')
  }

  #move(to: Place): void {
    const isSettled = this.#moving === undefined && this.#closing === undefined && !this.#dead
    if (!isSettled || this.#clock.now() < this.#waits[to].until) return
    this.#moving = this.#moveTo(to).finally(() => (this.#moving = undefined))
  }

  async #moveTo(to: Place): Promise<void> {
    let session: Session
    try {
      session = await this.#open(to)
    } catch {
      return this.#postpone(to) // it serves on where it is
    }
    if (this.#closing !== undefined || this.#dead) return session.close()
    if (to === 'thread') this.#postpone('inline')
    const left = this.#stage
    this.#stage = this.#enter(session)
    this.#costs.clear()
    this.#gate = left.idle()
    await this.#gate
    this.#gate = undefined
    await left.session.close()
  }

  #postpone(place: Place): void {
    const wait = this.#waits[place]
    wait.until = this.#clock.now() + wait.backoff.failed()
  }

  #enter(session: Session): Stage {
    void session.died.then((reason) => {
      if (session !== this.#stage.session) return
      this.#dead = true
      this.#die(reason)
    })
    return new Stage(session)
  }
}
