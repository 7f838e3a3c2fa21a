import type { Layout } from './layout.js'
import type { Move } from './layout-search.js'

/** Stretches one after another that a judgement rests on. */
const judgedStretches = 5

/** The share of time in which the event loop has something to do, from which on it needs a core, and up to which it does not. */
const busyShare = 0.9
const easyShare = 0.6

/** The share of the time since it was last asked in which the event loop was not idle. */
export function measureLoopShare(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return utilization
  }
}

/**
 * Says when runs should leave a core to the event loop: where handling requests keeps it busy all the time, as it does
 * over HTTP before a model of some 100 microseconds. A thread more would then only be in its way.
 */
export class LoopCore {
  #shares: number[] = []
  #proposed: Move | undefined
  #isSparing = false

  /**
   * @param spared the layout that leaves a core to the event loop
   * @param usual the layout to return to
   */
  constructor(
    readonly spared: Layout,
    private readonly usual: Layout,
    private readonly loopShare: () => number = measureLoopShare(),
  ) {}

  /** Whether the session is in the spared layout for the event loop's sake, however much it gets done there. */
  get isSparing(): boolean {
    return this.#isSparing
  }

  /** The session runs in another layout from now on. */
  entered(move: Move): void {
    this.#isSparing = move === this.#proposed && move.to === this.spared
    this.#shares = []
  }

  /** Looks at the event loop after a stretch in the present layout. */
  observe(present: Layout): Move | undefined {
    this.#shares.push(this.loopShare())
    if (this.#shares.length < judgedStretches) return undefined
    const share = this.#shares.toSorted((a, b) => a - b)[judgedStretches >> 1] ?? 0
    this.#shares = []
    const figure = `the event loop is busy ${Math.round(share * 100)} % of the time`
    this.#proposed = this.#isSparing ? this.#whenEasy(share, figure) : this.#whenBusy(present, share, figure)
    return this.#proposed
  }

  #whenEasy(share: number, figure: string): Move | undefined {
    if (share >= easyShare) return undefined
    return { to: this.usual, reason: `${figure}, and needs no core of its own` }
  }

  #whenBusy(present: Layout, share: number, figure: string): Move | undefined {
    if (share < busyShare || present === this.spared) return undefined
    return { to: this.spared, reason: `${figure}, and needs a core of its own` }
  }
}
