import type { Clock } from '../clock.js'
import type { Logger } from '../logger.js'
import type { GuardName } from './guard.js'

/** What a rollout does to the traffic, and whom it tells. */
export interface RolloutHost {
  readonly clock: Clock
  readonly logger: Logger
  /** Sends this share of the traffic to the new version, in percent. */
  setShare(percent: number): void
  /** Makes the new version the one that serves. */
  promote(): Promise<void>
  /** Sends all traffic to the version that serves. */
  endShare(): void
  /** Marks the new version as one that must not serve again. */
  quarantine(reason: string): void
  onEvent(event: RolloutEvent): void
}

/**
 * - `running`: a step is under way
 * - `paused`: the stable version can't serve, so that there is nothing to compare with
 * - `promoting`: the last step is passed, and the new version is about to become the one that serves
 * - `promoted`: it did
 * - `rolled-back`: a guard was breached, or the new version died
 * - `expired`: a step found no answer within `maxStepMs`
 * - `aborted`: an operator ended it
 * - `failed`: the new version could not be given its share, or not become the one that serves
 */
export type RolloutPhase =
  'running' | 'paused' | 'promoting' | 'promoted' | 'rolled-back' | 'expired' | 'aborted' | 'failed'

/** Whether a rollout in this phase is at its end. */
export function isOver(phase: RolloutPhase): boolean {
  return phase !== 'running' && phase !== 'paused' && phase !== 'promoting'
}

/** What one version did in a step. */
export interface VersionFigures {
  readonly requests: number
  readonly failures: number
  /** The quantile that the latency guard compares, else the 95th percentile; once a request has succeeded. */
  readonly latencyMs?: number
}

export interface RolloutFigures {
  readonly candidate: VersionFigures
  /** Of the stable version over the same time; at 100 percent that of the step before. */
  readonly stable: VersionFigures
  /** Over all steps. */
  readonly comparisons: number
  readonly disagreements: number
}

export interface RolloutStatus {
  readonly version: string
  readonly phase: RolloutPhase
  /** The step under way, or in which it ended, from 1. */
  readonly step: number
  readonly steps: number
  /** The share of that step. */
  readonly percent: number
  readonly reason?: string
  /** The guards that are sure that the new version is good enough, in this step. */
  readonly passed: readonly GuardName[]
  readonly figures: RolloutFigures
}

/** `step` begins a step, each other one a phase. */
export interface RolloutEvent extends RolloutStatus {
  readonly event: 'step' | 'resumed' | Exclude<RolloutPhase, 'running'>
  /** The guard that was breached. */
  readonly guard?: GuardName
}
