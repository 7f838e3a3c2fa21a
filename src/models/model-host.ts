import type { WaitLimits } from '../batching/limits-watch.js'
import type { Clock } from '../clock.js'
import type { ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { DesiredModel } from '../state/desired-state.js'
import type { Changes } from './changes.js'
import type { Outcomes } from './outcomes.js'
import type { CutOff } from './cut-off.js'
import type { LearntStore } from './learnt.js'
import type { Residency } from './residency.js'
import type { Shadow, ShadowResult } from './shadow.js'
import type { ArtifactCache } from './sources/artifact-cache.js'
import type { Stages } from './stages.js'
import type { WatchSettings } from './watch-options.js'

/** What a model needs of its manager. */
export interface ModelHost {
  readonly logger: Logger
  readonly changes: Changes
  readonly outcomes: Outcomes
  readonly clock: Clock
  readonly cutOff: CutOff
  readonly learnt: LearntStore
  readonly stages: Stages
  readonly residency: Residency
  /** What the replicas have decided on, which wins over configuration at start; where there are none, nothing. */
  readonly desired: (model: string) => DesiredModel
  /** Told of each version whose session ended by itself, and that can't serve until it is loaded again. */
  readonly onDied: (model: string, version: string, reason: ServingError) => void
  readonly onLoaded: (model: string, version: string, loadTimeMs: number) => void
  readonly onRun: (model: string, version: string, rows: number, computeMs: number) => void
  readonly onLoadFailed: (model: string, version: string) => void
  readonly onConfigFailed: (model: string) => void
  readonly artifacts: ArtifactCache
  /** Undefined where folders are not watched. */
  readonly watch: WatchSettings | undefined
  readonly onShadow: (model: string, version: string, result: ShadowResult) => void
  /** From 0 to 1, without 1. */
  readonly random: () => number
  /** By model, of those that have one. */
  readonly shadows: Map<string, Shadow>
  readonly within: <T>(limits: WaitLimits, promise: Promise<T>) => Promise<T>
}
