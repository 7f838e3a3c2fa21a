import type { BatchSource, Turnstile } from '../batching/turnstile.js'
import { sharedPermits } from './permits.js'

/** Batches handed over beyond those that have permits: they hide the hop between threads. */
const mostAhead = 2

/** A batch that was handed over and has not ended. */
interface HandedOver {
  readonly width: number
  readonly chargedMs: number
}

/** How much of an estimate the newest run is. */
const newestShare = 0.25

/**
 * Says which model's batch goes next, and how many go ahead of their permits.
 *
 * While permits are free every batch passes at once. Once they are all taken, at most two batches wait at the
 * workers, and the next is that of the model which has computed least: start-time fair queueing (Goyal, Vin, Cheng,
 * 1996), in milliseconds of one core. A batch is charged what its model's batches have cost of late, and the
 * difference once it has ended. A model that was idle starts where those that compute are now: it goes next, and has
 * no claim on the time before.
 */
export class Dispatcher {
  readonly #totalPermits: () => number
  readonly #waiting = new Set<Flow>()
  /** In the order of their hand-over. */
  readonly #handedOver: HandedOver[] = []
  /** How far the model that was served last had come. */
  #virtualMs = 0

  constructor(totalPermits: () => number) {
    this.#totalPermits = totalPermits
  }

  /** @param width permits that one run takes now; 0 where it takes none, and so passes at once */
  turnstile(width: () => number): (source: BatchSource) => Turnstile {
    return (source) => new Flow(source, width, this)
  }

  enter(flow: Flow): void {
    if (!this.#waiting.has(flow)) {
      flow.virtualMs = Math.max(flow.virtualMs, this.#virtualMs)
      this.#waiting.add(flow)
    }
    this.serve()
  }

  /** Hands over what there is room for. */
  serve(): void {
    while (this.#hasRoom()) {
      const flow = this.#next()
      if (flow === undefined) return
      this.#virtualMs = flow.virtualMs
      this.#handedOver.push(flow.handOver())
    }
  }

  /** A batch has ended. */
  ended(batch: HandedOver): void {
    this.#handedOver.splice(this.#handedOver.indexOf(batch), 1)
  }

  #next(): Flow | undefined {
    let next: Flow | undefined
    for (const flow of this.#waiting) {
      if (!flow.hasBatch()) this.#waiting.delete(flow)
      else if (next === undefined || flow.virtualMs < next.virtualMs) next = flow
    }
    return next
  }

  #hasRoom(): boolean {
    let free = this.#totalPermits()
    let ahead = 0
    for (const { width } of this.#handedOver) {
      // Permits are taken in the order of the hand-over: behind one that has to wait, all wait.
      if (ahead > 0 || free <= 0) ahead++
      else free -= width
    }
    return ahead < mostAhead
  }
}

/** The batches of one version, on their way to its session. */
class Flow implements Turnstile {
  /** Core milliseconds charged so far, on the dispatcher's scale. */
  virtualMs = 0
  #estimateMs = 1
  readonly #handedOver: HandedOver[] = []

  constructor(
    private readonly source: BatchSource,
    private readonly width: () => number,
    private readonly dispatcher: Dispatcher,
  ) {}

  wake(): void {
    if (this.width() > 0) return this.dispatcher.enter(this)
    while (this.source.hasBatch()) this.source.handOver()
  }

  hasBatch(): boolean {
    return this.source.hasBatch()
  }

  handOver(): HandedOver {
    const width = this.width()
    const batch = { width, chargedMs: this.#estimateMs * width }
    this.virtualMs += batch.chargedMs
    this.#handedOver.push(batch)
    this.source.handOver()
    return batch
  }

  finished(computeMs: number): void {
    const batch = this.#handedOver.shift()
    if (batch !== undefined) {
      this.virtualMs += computeMs * batch.width - batch.chargedMs
      this.#estimateMs += (computeMs - this.#estimateMs) * newestShare
      this.dispatcher.ended(batch)
    }
    // Before the others are served: its own next batch may go before theirs.
    this.wake()
    this.dispatcher.serve()
  }
}

const processDispatcher = new Dispatcher(() => sharedPermits().total)

/** The dispatcher of this process: all sessions compute on the same cores. */
export function sharedDispatcher(): Dispatcher {
  return processDispatcher
}
