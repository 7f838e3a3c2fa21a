import { LatencyHistogram, type BucketCount } from './latency-histogram.js'
import type { Proportion } from './sequential-test.js'

/** How a request ended. */
export interface RequestOutcome {
  /** Whether the version failed at it; what was refused or wrong before it reached the version is no request of it. */
  readonly failed: boolean
  /** Of a request that succeeded, in milliseconds. */
  readonly latencyMs: number
}

/** Sums that two samples can be added by. */
export interface SampleState {
  readonly requests: number
  readonly failures: number
  readonly latencies: readonly BucketCount[]
}

/** What one version did in one step. */
export class Sample {
  #requests = 0
  #failures = 0
  readonly latencies = new LatencyHistogram()

  constructor(state?: SampleState) {
    if (state !== undefined) this.add(state)
  }

  get requests(): number {
    return this.#requests
  }

  get failures(): number {
    return this.#failures
  }

  get failed(): Proportion {
    return { events: this.#failures, trials: this.#requests }
  }

  observe({ failed, latencyMs }: RequestOutcome): void {
    this.#requests++
    if (failed) this.#failures++
    // A failure is often quick, and would make a version that fails look fast.
    else this.latencies.observe(latencyMs)
  }

  add({ requests, failures, latencies }: SampleState): void {
    this.#requests += requests
    this.#failures += failures
    this.latencies.add(latencies)
  }

  toJSON(): SampleState {
    return { requests: this.#requests, failures: this.#failures, latencies: this.latencies.toJSON() }
  }
}
