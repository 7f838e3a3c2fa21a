import { systemClock, type Clock } from '../clock.js'
import { consoleLogger, type Logger } from '../logger.js'
import type { RolloutEvent } from '../rollout/rollout-host.js'
import { nothingOfModel } from '../state/desired-state.js'
import type { ReplicaOptions } from '../state/replica-options.js'
import type { Replicas } from '../state/replicas.js'
import { Changes } from './changes.js'
import { CutOff } from './cut-off.js'
import { LearntStore, type Learnt } from './learnt.js'
import type { ModelHost } from './model-host.js'
import { Outcomes } from './outcomes.js'
import { Residency, type ResidencyLimits } from './residency.js'
import type { RolloutChanges } from './rollout-changes.js'
import type { ShadowResult } from './shadow.js'
import { ArtifactCache } from './sources/artifact-cache.js'
import type { Stages } from './stages.js'
import { Waits } from './waits.js'
import { watchSettings, type WatchOptions } from './watch-options.js'

export interface ModelManagerOptions extends ResidencyLimits {
  /** Default: warnings and errors to the console. */
  readonly logger?: Logger
  /** Told of each version that was loaded. */
  readonly onLoaded?: (model: string, version: string, loadTimeMs: number) => void
  /** Told of each run that succeeded, of one or more requests. */
  readonly onRun?: (model: string, version: string, rows: number, computeMs: number) => void
  /** Told what became of each copy of a request that a shadow was given. */
  readonly onShadow?: (model: string, version: string, result: ShadowResult) => void
  /** Told of each step, and of the end, of the rollouts that this process judges. */
  readonly onRollout?: (model: string, event: RolloutEvent) => void
  readonly clock?: Clock
  /** From 0 to 1, without 1: draws requests without a key for a canary, and those that a shadow is given. Default: Math.random. */
  readonly random?: () => number
  /** What another process has learnt of the artifacts: {@link ModelManager.learned}. */
  readonly learned?: Learnt
  /** How long {@link ModelManager.close} waits for requests under way. Default: 30,000. */
  readonly drainTimeoutMs?: number
  /** Told of each load of a version that failed. */
  readonly onLoadFailed?: (model: string, version: string) => void
  /** Told each time a `model.json` could not be read. */
  readonly onConfigFailed?: (model: string) => void
  /** Whether and how the models' folders are watched. Default: they are read once. */
  readonly watch?: true | WatchOptions | undefined
  /** The folder for what is kept on disk, and where processes agree on what they serve. Default: the user's cache folder, and the process decides alone. */
  readonly stateDir?: string | undefined
  /** How processes agree. */
  readonly replicas?: ReplicaOptions
}

/** What the manager has beside its options. */
interface ManagerParts {
  readonly stages: Stages
  /** Those that there are by now. */
  readonly replicas: () => Replicas | undefined
  readonly rollouts: () => RolloutChanges
}

/** What the models of a manager are given: its options, completed by their defaults. */
export function hostOf(
  options: ModelManagerOptions,
  { stages, replicas, rollouts }: ManagerParts,
): ModelHost {
  const { logger = consoleLogger, clock = systemClock, random = Math.random } = options
  const { maxLoadedModels, memoryLimitBytes, stateDir, learned, watch } = options
  const { onLoaded = ignored, onRun = ignored, onLoadFailed = ignored, onConfigFailed = ignored } = options
  const cutOff = new CutOff()
  const waits = new Waits(clock, cutOff)
  const outcomes = new Outcomes(logger)
  return {
    logger,
    changes: new Changes(logger),
    outcomes,
    clock,
    random,
    cutOff,
    stages,
    onLoaded: (model, version, loadTimeMs) => {
      onLoaded(model, version, loadTimeMs)
      rollouts().isBack(model, version)
    },
    onDied: (model, version, { message }) => rollouts().died(model, version, message),
    onRun,
    onLoadFailed,
    onConfigFailed,
    onShadow: (model, version, result) => {
      options.onShadow?.(model, version, result)
      if (!('distance' in result)) return
      outcomes.compared(model, { version, agree: result.result === 'agreed', distance: result.distance })
    },
    shadows: new Map(),
    within: (limits, promise) => waits.within(limits, promise),
    watch: watch === undefined ? undefined : watchSettings(watch),
    artifacts: new ArtifactCache(stateDir),
    learnt: new LearntStore(learned),
    residency: new Residency({ maxLoadedModels, memoryLimitBytes }, clock),
    desired: (model) => replicas()?.desiredOf(model) ?? nothingOfModel,
  }
}

function ignored(): void {}
