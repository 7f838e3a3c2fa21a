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

  /**
   * @param spared the layout that leaves a core to the event loop
   * @param usual the layout to return to
   */
  constructor(
    readonly spared: Layout,
    private readonly usual: Layout,
    private readonly loopShare: () => number = measureLoopShare(),
  ) {}

  /** The session runs in another layout from now on. */
  entered(): void {
    this.#shares = []
  }

  /** Looks at the event loop after a stretch in the present layout. */
  observe(present: Layout): Move | undefined {
    this.#shares.push(this.loopShare())
    if (this.#shares.length < judgedStretches) return undefined
    const share = this.#shares.toSorted((a, b) => a - b)[judgedStretches >> 1] ?? 0
    this.#shares = []
    const figure = `the event loop is busy ${Math.round(share * 100)} % of the time`
    if (present === this.spared) {
      if (share >= easyShare) return undefined
      return { to: this.usual, reason: `${figure}, and needs no core of its own`, isDefeat: true }
    }
    return share < busyShare
      ? undefined
      : { to: this.spared, reason: `${figure}, and needs a core of its own` }
  }
}
