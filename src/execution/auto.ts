import { Backoff } from '../backoff.js'
import { type Clock, systemClock, type Timer } from '../clock.js'
import { ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { InlineChoice } from './inline-choice.js'
import { LayoutSearch, type Move } from './layout-search.js'
import { describeLayout, inlineLayout, isSameLayout, type Layout, type LearnedLayout } from './layout.js'
import type { RunResult, Session } from './session.js'
import type { Stretch } from './throughput.js'
import { type LoneRun, LoneRuns } from './lone-runs.js'
import { LoopCore } from './loop-core.js'
import { Stage } from './stage.js'

export interface AutoOptions {
  /** Of threads: the first is the one to start in, each after it has more sessions. */
  readonly layouts: readonly [Layout, ...Layout[]]
  /** Whether the session may move to the event loop. */
  readonly mayInline: boolean
  /** The cores that the layouts are for. */
  readonly cores: number
  /** The layout that leaves a core to the event loop, where that is busy. Default: none does. */
  readonly spared?: Layout | undefined
  /** The share of the time since the last call in which the event loop was busy. Default: as it is. */
  readonly loopShare?: (() => number) | undefined
  /** What an earlier session of the artifact has learnt. */
  readonly learned?: LearnedLayout | undefined
  /** Told of each move, and of what was measured. */
  readonly onMoved?: ((message: string) => void) | undefined
  readonly clock?: Clock | undefined
}

/** The wait before a session that had to leave the event loop may come back; it doubles each time. */
const firstReturnMs = 1000

/** The wait before a layout that gave no more is tried again; it doubles each time. */
const firstTrialMs = 60_000

/** After a look for a lull the next is so much later at least. */
const nextLookMs = 2_500

/**
 * A session that learns the layout for its artifact: it starts in one thread with all cores, moves inline where its
 * runs prove to cost less than the hop to a thread, and to several sessions beside each other where it has always
 * something to do and they get more done; back where that ends.
 *
 * It moves while it serves: the session of the new layout is opened in the background, takes over once what the
 * one left behind was handed is answered, and that one is closed. Each return to a layout that had to be left waits
 * twice as long as the one before, so that the moves of a session are few, however its costs swing.
 */
export class AutoSession implements Session {
  readonly died: Promise<ServingError>
  /** Of the first session; those that follow are of the same file. */
  readonly inspection: Session['inspection']
  #die: (reason: ServingError) => void = () => {}
  readonly #open: (layout: Layout) => Promise<Session>
  readonly #options: AutoOptions
  readonly #clock: Clock
  readonly #inlining: InlineChoice | undefined
  readonly #search: LayoutSearch
  readonly #loopCore: LoopCore | undefined
  /** When each layout may be moved to, and how long the wait is after the next failure there. */
  readonly #waits = new Map<Layout, { until: number; readonly backoff: Backoff }>()
  #stage: Stage
  /** Of the present stage, where that is of threads and the model may run inline. */
  #lone: LoneRuns | undefined
  #dead = false
  /** Set while runs wait for the session that was left behind. */
  #gate: Promise<void> | undefined
  #moving: Promise<void> | undefined
  /** Looks for a lull, where there are several sessions. */
  #lull: Timer | undefined
  #closing: Promise<void> | undefined

  private constructor(
    layout: Layout,
    session: Session,
    open: (layout: Layout) => Promise<Session>,
    options: AutoOptions,
  ) {
    const { layouts, mayInline, spared, loopShare, learned, clock = systemClock } = options
    this.inspection = session.inspection
    this.#open = open
    this.#options = options
    this.#clock = clock
    this.#inlining = mayInline ? new InlineChoice() : undefined
    this.#search = new LayoutSearch(spared === undefined ? layouts : [...layouts, spared], learned)
    this.#loopCore = spared && new LoopCore(spared, layouts[0], loopShare)
    for (const candidate of [inlineLayout, ...layouts, ...(spared === undefined ? [] : [spared])]) {
      const firstMs = candidate === inlineLayout ? firstReturnMs : firstTrialMs
      this.#waits.set(candidate, { until: -Infinity, backoff: new Backoff({ firstMs, longestMs: Infinity }) })
    }
    for (const defeated of this.#search.defeated) this.#postpone(defeated)
    this.died = new Promise((resolve) => (this.#die = resolve))
    this.#stage = this.#enter(layout, session)
  }

  /**
   * @param open opens a session of the one artifact in a layout
   * @throws what `open` throws
   */
  static async create(
    open: (layout: Layout) => Promise<Session>,
    options: AutoOptions,
  ): Promise<AutoSession> {
    const { layouts, mayInline, cores, learned } = options
    const candidates = mayInline ? [...layouts, inlineLayout] : layouts
    const known = learned?.cores === cores ? learned : undefined
    const best = candidates.find((layout) => known !== undefined && isSameLayout(layout, known.layout))
    const layout = best ?? layouts[0]
    return new AutoSession(layout, await open(layout), open, { ...options, learned: best && known })
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

  get instances() {
    return this.#stage.layout.instances
  }

  get slots() {
    return this.#stage.session.slots
  }

  get width() {
    return this.#stage.session.width
  }

  /** What a later session of the artifact may begin with; undefined as long as nothing was measured. */
  get learned(): LearnedLayout | undefined {
    const { isInline } = this.#stage
    const { best, measured } = this.#search
    if (!isInline && measured.length === 0) return undefined
    return { cores: this.#options.cores, layout: isInline ? inlineLayout : best, measured }
  }

  run(feeds: Feeds): Promise<RunResult> {
    if (this.#closing !== undefined) {
      return Promise.reject(new ServingError('CLOSED', 'the session is closed'))
    }
    const stage = this.#stage
    const rows = this.#rowsOf(feeds)
    if (this.#gate !== undefined) return this.#gate.then(() => this.#runIn(stage, feeds, rows))
    return this.#runIn(stage, feeds, rows)
  }

  #runIn(stage: Stage, feeds: Feeds, rows: number): Promise<RunResult> {
    if (stage.isInline) return this.#runInline(stage, feeds, rows)
    const alone = this.#lone?.runFor(rows, stage.throughput.running)
    if (alone !== undefined) return this.#runAlone(stage, alone, feeds)
    return this.#runInThreads(stage, feeds, rows)
  }

  async #runInline(stage: Stage, feeds: Feeds, rows: number): Promise<RunResult> {
    this.#leaveInline(this.#inlining?.tooManyRows(rows))
    const result = await stage.run(feeds)
    if (stage === this.#stage && result.isRough !== true)
      this.#leaveInline(this.#inlining?.inline(rows, result.computeMs))
    return result
  }

  async #runAlone(stage: Stage, run: LoneRun, feeds: Feeds): Promise<RunResult> {
    const result = await run(feeds)
    if (stage === this.#stage && result.isRough !== true) this.#judgeCost(1, result.computeMs, undefined)
    return result
  }

  async #runInThreads(stage: Stage, feeds: Feeds, rows: number): Promise<RunResult> {
    const { throughput } = stage
    const isAlone = throughput.running === 0
    const began = this.#clock.now()
    throughput.began(began)
    let done = 0
    try {
      const result = await stage.run(feeds)
      done = rows
      const hopMs = isAlone ? this.#clock.now() - began - result.computeMs : undefined
      if (stage === this.#stage && result.isRough !== true) {
        this.#judgeCost(rows, result.computeMs, hopMs)
        this.#lone?.inThreads(rows, result.computeMs, stage.session.width)
      }
      return result
    } finally {
      const now = this.#clock.now()
      const stretch = throughput.ended(now, done)
      if (stretch !== undefined && stage === this.#stage) this.#judgeLayout(stage.layout, stretch, now)
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#lull?.clear()
    await this.#moving
    await Promise.all([this.#stage.session.close(), this.#lone?.close()])
  }

  #rowsOf(feeds: Feeds): number {
    const first = this.signature.inputs[0]
    if (typeof first?.shape[0] !== 'string') return 1
    return feeds[first.name]?.shape[0] ?? 1
  }

  #judgeCost(rows: number, computeMs: number, hopMs: number | undefined): void {
    const reason = this.#inlining?.inThread(rows, computeMs, hopMs)
    if (reason !== undefined) this.#consider({ to: inlineLayout, reason })
  }

  #judgeLayout(layout: Layout, stretch: Stretch, now: number): void {
    const move = this.#loopCore?.observe(layout)
    if (move !== undefined) this.#consider(move)
    else if (this.#loopCore?.isSparing !== true) this.#consider(this.#search.observe(stretch, now))
  }

  #leaveInline(reason: string | undefined): void {
    if (reason !== undefined) this.#consider({ to: this.#options.layouts[0], reason, isDefeat: true })
  }

  #consider(move: Move | undefined): void {
    if (move === undefined || this.#moving !== undefined || this.#closing !== undefined || this.#dead) return
    const wait = this.#waits.get(move.to)
    if (move.to === this.#stage.layout) {
      wait?.backoff.succeeded()
      this.#report(`stays with ${describeLayout(move.to)}: ${move.reason}`)
    } else if (move.isDefeat === true || (wait !== undefined && this.#clock.now() >= wait.until)) {
      this.#moving = this.#move(move).finally(() => (this.#moving = undefined))
    }
  }

  async #move(move: Move): Promise<void> {
    const { to, reason, isDefeat = false } = move
    let session: Session
    try {
      session = await this.#open(to)
    } catch {
      return this.#postpone(to) // it serves on where it is
    }
    if (this.#closing !== undefined || this.#dead) return session.close()
    const left = this.#stage
    if (isDefeat) this.#postpone(left.layout)
    this.#stage = this.#enter(to, session)
    this.#inlining?.clear()
    this.#loopCore?.entered(move)
    this.#report(`moves to ${describeLayout(to)}: ${reason}`)
    this.#gate = left.idle()
    await this.#gate
    this.#gate = undefined
    await left.session.close()
  }

  #report(message: string): void {
    this.#options.onMoved?.(message)
  }

  #postpone(layout: Layout): void {
    const wait = this.#waits.get(layout)
    if (wait !== undefined) wait.until = this.#clock.now() + wait.backoff.failed()
  }

  #enter(layout: Layout, session: Session): Stage {
    void session.died.then((reason) => {
      if (session !== this.#stage.session) return
      this.#dead = true
      this.#lull?.clear()
      this.#die(reason)
    })
    const stage = new Stage(layout, session)
    this.#lull?.clear()
    if (!stage.isInline) this.#search.entered(layout, this.#clock.now())
    this.#findLoneRuns(stage)
    if (layout.instances > 1) this.#watchForLull(stage)
    return stage
  }

  #findLoneRuns(stage: Stage): void {
    if (stage.isInline) {
      void this.#lone?.close()
      this.#lone = undefined
    } else if (this.#options.mayInline) this.#lone ??= new LoneRuns(() => this.#open(inlineLayout))
  }

  #watchForLull(stage: Stage): void {
    const look = () => {
      this.#consider(this.#search.lull(stage.throughput.running, this.#clock.now()))
      this.#watchForLull(stage)
    }
    const waitMs = Math.max(nextLookMs, this.#search.lullInMs(this.#clock.now()))
    this.#lull = this.#clock.setTimer(look, waitMs, { background: true })
  }
}
