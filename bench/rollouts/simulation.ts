import type { Clock, Timer } from '../../src/clock.js'
import { Rollout } from '../../src/rollout/rollout.js'
import type { RolloutEvent, RolloutPhase } from '../../src/rollout/rollout-host.js'
import type { RolloutOptions } from '../../src/rollout/rollout-options.js'

/** A version as a simulation knows it. */
export interface SimulatedVersion {
  /** The share of requests that fail. */
  readonly errorRatio: number
  /** How many times as long as the stable version it takes. Default: 1. */
  readonly slowness?: number
  /** The share of inputs on which it agrees with the stable version. Default: 0.995. */
  readonly agreement?: number
}

export interface Scenario {
  readonly stable: SimulatedVersion
  readonly candidate: SimulatedVersion
  readonly options: Omit<RolloutOptions, 'version'>
  /** The share of the new version's requests that the other one answers too. Default: 1. */
  readonly compared?: number
  /** Of all requests; what is undecided then counts as such. Default: 1,000,000. */
  readonly mostRequests?: number
}

export interface SimulatedRollout {
  readonly phase: RolloutPhase
  /** Requests that the new version had, over all steps. */
  readonly requests: number
  readonly event: RolloutEvent | undefined
}

export interface Summary {
  readonly rollouts: number
  readonly rolledBack: number
  readonly promoted: number
  readonly undecided: number
  /** Requests of the new version, of each rollout that was rolled back, ascending. */
  readonly untilRolledBack: Float64Array
  readonly untilPromoted: Float64Array
}

/** Simulates a number of rollouts, the same for the same seed. */
export function simulate(scenario: Scenario, rollouts: number, seed: number): Summary {
  const next = random(seed)
  const [back, promoted] = [new Float64Array(rollouts), new Float64Array(rollouts)]
  let [backs, promotions] = [0, 0]
  for (let i = 0; i < rollouts; i++) {
    const { phase, requests } = simulateOne(scenario, next)
    if (phase === 'rolled-back') back[backs++] = requests
    if (phase === 'promoting') promoted[promotions++] = requests
  }
  return {
    rollouts,
    rolledBack: backs,
    promoted: promotions,
    undecided: rollouts - backs - promotions,
    untilRolledBack: back.subarray(0, backs).sort(),
    untilPromoted: promoted.subarray(0, promotions).sort(),
  }
}

/** One rollout under traffic of a request a millisecond. */
export function simulateOne(scenario: Scenario, next: () => number): SimulatedRollout {
  const { stable, candidate, compared = 1, mostRequests = 1_000_000 } = scenario
  const { agreement = 0.995 } = candidate
  const clock = new SimulatedClock()
  const seen: { share: number; phase: RolloutPhase; event?: RolloutEvent } = { share: 0, phase: 'running' }
  const rollout = Rollout.start(
    { minStepMs: 0, ...scenario.options, version: '2' },
    {
      clock,
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      setShare: (percent) => (seen.share = percent / 100),
      promote: () => new Promise(() => {}),
      endShare: () => (seen.share = 0),
      quarantine: () => {},
      onEvent: (told) => {
        seen.event = told
        seen.phase = told.phase
      },
    },
  )
  let requests = 0
  for (let i = 0; i < mostRequests && seen.phase === 'running'; i++) {
    clock.advance(1)
    const isCandidate = next() < seen.share
    const { errorRatio, slowness = 1 } = isCandidate ? candidate : stable
    const failed = next() < errorRatio
    rollout.observe(isCandidate ? 'candidate' : 'stable', { failed, latencyMs: slowness * latencyMs(next()) })
    if (!isCandidate) continue
    requests++
    if (next() < compared) rollout.compared(next() < agreement)
  }
  return { phase: seen.phase, requests, event: seen.event }
}

/** Log-normal, with a median of 10 ms and a 95th percentile of 23 ms, by a table of its quantiles. */
const latencies = Float64Array.from(
  { length: 4096 },
  (_, i) => 10 * Math.exp(0.5 * normalQuantile((i + 0.5) / 4096)),
)

function latencyMs(uniform: number): number {
  return latencies[Math.floor(uniform * 4096)] ?? NaN
}

/** By bisection of the distribution function, as Abramowitz and Stegun's 26.2.17 gives it. */
function normalQuantile(share: number): number {
  let [low, high] = [-6, 6]
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2
    if (normalDistribution(middle) < share) low = middle
    else high = middle
  }
  return low
}

function normalDistribution(x: number): number {
  if (x < 0) return 1 - normalDistribution(-x)
  const t = 1 / (1 + 0.2316419 * x)
  const series = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153]
  const tail = series.reduce((sum, factor) => sum * t + factor, 0) * t
  return 1 - (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * tail
}

class SimulatedClock implements Clock {
  #now = 0
  readonly #timers = new Map<() => void, number>()

  now(): number {
    return this.#now
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    this.#timers.set(callback, this.#now + delayMs)
    return { clear: () => void this.#timers.delete(callback) }
  }

  advance(ms: number): void {
    this.#now += ms
    if (this.#timers.size === 0) return
    for (const [callback, at] of this.#timers) {
      if (at > this.#now) continue
      this.#timers.delete(callback)
      callback()
    }
  }
}

/** Pseudo-random numbers from 0 to 1 (mulberry32). */
export function random(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b9)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}
