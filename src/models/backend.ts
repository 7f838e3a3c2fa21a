import type { SeenArtifact } from '../execution/seen-artifact.js'
import type { ExposureOptions } from './exposure.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import type { CommonOptions } from './model-config.js'
import type { VersionSource } from './repository.js'
import type { StandardSchemaV1 } from './standard-schema.js'
import type { WarmUp } from './warm-up.js'

/** What loads a model's versions from elsewhere than from its folder or code: its definition brings it along. */
export interface Backend {
  /**
   * The versions that there are.
   * @param signal aborts once nobody waits for them any more
   */
  versions(signal: AbortSignal): Promise<VersionSource[]>
  /** Sessions of each version that lies here. Default: 1. */
  readonly instances?: number
  /**
   * Loads a version.
   * @param label `model@version`, for messages
   * @param seen what earlier loads have seen of the artifact, of one that lies here
   */
  open(label: string, source: VersionSource, observer: LoadObserver, seen: SeenArtifact): Promise<LoadedModel>
}

/** Everything that the versions of a backend are served with. */
export interface BackendVersionOptions extends CommonOptions, ExposureOptions {
  readonly backend: Backend
  readonly input?: StandardSchemaV1 | undefined
  /** Whether code of the user's makes the tensors. */
  readonly encode?: unknown
  readonly warmUp?: WarmUp | undefined
}
