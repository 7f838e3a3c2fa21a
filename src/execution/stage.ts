import type { Feeds } from '../tensor/tensor.js'
import type { Layout } from './layout.js'
import type { RunResult, Session } from './session.js'
import { Throughput } from './throughput.js'

/** A session in one layout, with the runs it was handed. */
export class Stage {
  readonly throughput = new Throughput()
  #running = 0
  #idle: (() => void) | undefined

  constructor(
    readonly layout: Layout,
    readonly session: Session,
  ) {}

  get isInline(): boolean {
    return this.layout.placement === 'inline'
  }

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
