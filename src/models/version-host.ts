import type { CacheOptions } from '../cache/prediction-cache.js'
import type { Clock } from '../clock.js'
import type { CutOff } from './cut-off.js'
import type { LearntStore } from './learnt.js'
import type { RequestBounds } from './lease.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import type { BatchingOptions } from './model-config.js'
import type { VersionSource } from './repository.js'
import type { WarmUp } from './warm-up.js'

/** How the versions of a model are opened, queued and kept. */
export interface VersionHost extends RequestBounds {
  /** Loads an artifact. @param label `model@version`, for messages */
  open(label: string, source: VersionSource, observer: LoadObserver): Promise<LoadedModel>
  readonly batching?: boolean | BatchingOptions | undefined
  readonly cache?: true | CacheOptions | undefined
  readonly maxQueueRows?: number | undefined
  readonly maxQueueBytes?: number | undefined
  /** How long a run may compute before it is given up. Default: as long as it takes. */
  readonly runTimeoutMs?: number | undefined
  /** Default: the system's. */
  readonly clock?: Clock | undefined
  /** Ends every wait of an unload. Default: none is ended. */
  readonly cutOff?: CutOff | undefined
  /** Told what the operator should know. */
  warn?(message: string): void
  /** What is known of artifacts, and is learnt of them. */
  readonly learnt?: LearntStore | undefined
  /** Told what may be of interest. */
  info?(message: string): void
  /** Told of each run that succeeded. */
  onRun?(version: string, rows: number, computeMs: number): void
  /** What is run before the version is ready. Default: nothing. */
  readonly warmUp?: WarmUp | undefined
  /** Told each time the version was loaded. */
  onReady?(): void
  /** Told when nobody holds the version any more, for now. */
  onReleased?(): void
  /** Told once the version is no longer in memory. */
  onFreed?(): void
}
