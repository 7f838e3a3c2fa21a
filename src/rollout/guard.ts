import type { Evidence } from './evidence.js'
import type { RolloutGuards } from './rollout-options.js'
import { Looks, type LooksState } from './sequential-test.js'

export type GuardName = keyof RolloutGuards

/** The chance of each of the two errors that a guard may make, over all its looks. */
export interface GuardLevels {
  /** That it is breached by a version as good as the stable one. */
  readonly breach: number
  /** That it passes a version that is worse by what it must not be. */
  readonly pass: number
}

export interface GuardState {
  readonly breach: LooksState
  readonly pass: LooksState
  readonly passed: boolean
}

/** Trials at the first look for a breach: a version that always fails needs no more. */
const firstLook = 8

/** Looks at evidence as it grows until it is sure of one or the other. */
export class Guard {
  readonly #breach: Looks
  readonly #pass: Looks
  #passed: boolean

  /** @param minTrials before it may be passed */
  constructor(
    readonly name: GuardName,
    readonly evidence: Evidence,
    levels: GuardLevels,
    minTrials: number,
    state?: GuardState,
  ) {
    this.#breach = new Looks(levels.breach, firstLook, state?.breach)
    this.#pass = new Looks(levels.pass, minTrials, state?.pass)
    this.#passed = state?.passed ?? false
  }

  /** Whether the new version is good enough, as far as this is about. Once it is known it stays. */
  get passed(): boolean {
    return this.#passed
  }

  /** Looks, where it is time to. @returns whether the new version is too bad */
  isBreached(): boolean {
    const { evidence } = this
    const { trials } = evidence
    const breach = this.#breach.take(trials)
    if (breach !== undefined && evidence.isWorse(breach)) return true
    if (this.#passed) return false
    const pass = this.#pass.take(trials)
    this.#passed = pass !== undefined && evidence.isNoWorse(pass)
    return false
  }

  toJSON(): GuardState {
    return { breach: this.#breach.toJSON(), pass: this.#pass.toJSON(), passed: this.#passed }
  }
}
