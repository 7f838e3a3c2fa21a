import type { ProviderName } from '../execution/providers.js'
import type { Place } from '../execution/session.js'
import type { TensorInfo } from '../tensor/tensor.js'
import type { BatchSafety } from './batch-safety.js'
import type { ServedModel } from './served-model.js'
import type { VersionState } from './version.js'

export interface VersionSnapshot {
  readonly version: string
  readonly state: VersionState
  /** Why it failed. */
  readonly reason?: string
  readonly loadTimeMs?: number
  /** Where it runs now, once it is loaded; not of a custom model. */
  readonly placement?: Place
  /** The execution providers it runs with. */
  readonly providers?: readonly ProviderName[]
  /** Whether requests may share a run, once it is loaded. */
  readonly batching?: BatchSafety
}

/** A model's state at one moment. */
export interface ModelSnapshot {
  readonly name: string
  readonly description?: string
  /** What `latest` means now: the version that serves. */
  readonly current?: string
  /** Why the model has no version at all. */
  readonly reason?: string
  /** The highest first. */
  readonly versions: readonly VersionSnapshot[]
  /** Of the current version, once it is loaded. */
  readonly inputs?: readonly TensorInfo[]
  readonly outputs?: readonly TensorInfo[]
}

export function snapshot(model: ServedModel): ModelSnapshot {
  const { current, failure } = model
  return {
    name: model.name,
    ...(model.options.description !== undefined && { description: model.options.description }),
    ...(current !== undefined && { current: current.name }),
    ...(failure !== undefined && { reason: failure.message }),
    versions: model.versionNames().map((name) => {
      const { state, reason, loadTimeMs, session, batchSafety } = model.version(name)
      return {
        version: name,
        state,
        ...(reason !== undefined && { reason: reason.message }),
        ...(loadTimeMs !== undefined && { loadTimeMs }),
        ...(session !== undefined && { placement: session.placement, providers: session.providers }),
        ...(batchSafety !== undefined && { batching: batchSafety }),
      }
    }),
    ...(current?.session !== undefined && {
      inputs: current.session.signature.inputs,
      outputs: current.session.signature.outputs,
    }),
  }
}
