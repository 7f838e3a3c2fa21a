import type { RolloutEvent, RolloutHost } from '../../src/rollout/rollout-host.js'
import { ManualClock } from '../manual-clock.js'
import { quietLogger } from '../models/quiet-logger.js'

/** A host that writes down what is asked of it. */
export class FakeHost implements RolloutHost {
  readonly clock = new ManualClock()
  readonly logger = quietLogger()
  readonly calls: string[] = []
  readonly events: RolloutEvent[] = []
  promotion: Promise<void> = Promise.resolve()

  setShare(percent: number): void {
    this.calls.push(`share ${percent}`)
  }

  promote(): Promise<void> {
    this.calls.push('promote')
    return this.promotion
  }

  endShare(): void {
    this.calls.push('end share')
  }

  quarantine(_reason: string): void {
    this.calls.push('quarantine')
  }

  onEvent(event: RolloutEvent): void {
    this.events.push(event)
  }
}
