import type { CacheStatus } from '../cache/prediction-cache.js'

/** How often something was done, and how long it took in all. */
export class Tally {
  count = 0
  ms = 0

  add(ms: number): void {
    this.count++
    this.ms += ms
  }
}

/** How a request was answered. */
export interface AnswerTimes {
  readonly latencyMs: number
  readonly queueMs: number
  readonly computeMs: number
  /** Undefined where the request had no cache. */
  readonly cache?: CacheStatus | undefined
}

/** What was counted of a version since the process began, as the statistics of the Open Inference Protocol want it. */
export class VersionStatistics {
  readonly success = new Tally()
  readonly fail = new Tally()
  /** Of the requests that were computed: their waits, and the times of the runs that answered them. */
  readonly queue = new Tally()
  readonly compute = new Tally()
  /** Of the requests that the cache answered. */
  readonly cacheHit = new Tally()
  cacheMisses = 0
  /** When the last request was over, on the clock of `performance.now()`. */
  lastAt: number | undefined
  /** The runs that succeeded, by their rows. */
  readonly runs = new Map<number, Tally>()

  answered({ latencyMs, queueMs, computeMs, cache }: AnswerTimes, now: number): void {
    this.lastAt = now
    this.success.add(latencyMs)
    if (cache === 'hit' || cache === 'stale') return this.cacheHit.add(latencyMs)
    if (cache === 'miss') this.cacheMisses++
    this.queue.add(queueMs)
    this.compute.add(computeMs)
  }

  failed(latencyMs: number): void {
    this.lastAt = performance.now()
    this.fail.add(latencyMs)
  }

  ran(rows: number, computeMs: number): void {
    let runs = this.runs.get(rows)
    if (runs === undefined) this.runs.set(rows, (runs = new Tally()))
    runs.add(computeMs)
  }
}
