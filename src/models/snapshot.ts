import type { FoundSize } from '../batching/batch-plan.js'
import { layoutOf } from '../execution/layout.js'
import type { ProviderName } from '../execution/providers.js'
import type { AnyPlace } from '../execution/session.js'
import type { TensorInfo } from '../tensor/tensor.js'
import type { BatchSafety } from './batch-safety.js'
import type { StageInfo } from './pipeline-model.js'
import type { SessionState } from './loaded-model.js'
import type { CanaryOptions } from './canary.js'
import type { ServedModel } from './served-model.js'
import type { ShadowSnapshot } from './shadow.js'
import type { VersionState } from './version.js'
import { compareVersions } from './version-order.js'

/** Batch sizes that are shown: of a model that takes any length there may be many. */
const mostSizes = 16

export interface VersionSnapshot {
  readonly version: string
  readonly state: VersionState
  /** Why it failed. */
  readonly reason?: string
  readonly loadTimeMs?: number
  /** Where it runs now, once it is loaded; not of a custom model. */
  readonly placement?: AnyPlace
  /** Sessions beside each other, and the threads of one run; they change under `auto`. Not of a remote model. */
  readonly instances?: number
  readonly intraOpThreads?: number
  /** The execution providers it runs with. */
  readonly providers?: readonly ProviderName[]
  /** SHA-256 of the artifact's files, once it is loaded. */
  readonly sha256?: string
  /** The batch sizes that pay, by the signature of the inputs; none while too few runs were seen. */
  readonly batchSizes?: readonly FoundSize[]
  /** Whether requests may share a run, once it is loaded. */
  readonly batching?: BatchSafety
  /** Why it must not serve. */
  readonly quarantined?: string
  /** Its files are no longer those that it was loaded from. */
  readonly changed?: true
}

/** A model's state at one moment. */
export interface ModelSnapshot {
  readonly name: string
  readonly description?: string
  /** What `latest` means now: the version that serves. */
  readonly current?: string
  /** Versions by label, where there are labels. */
  readonly labels?: Readonly<Record<string, string>>
  /** The version that has a share of the requests, where there is one. */
  readonly canary?: CanaryOptions
  /** The version that is given copies of requests, where there is one. */
  readonly shadow?: ShadowSnapshot
  /** Why the model has no version at all. */
  readonly reason?: string
  /** Why its `model.json` is not heeded: what was read before still holds. */
  readonly configReason?: string
  /** The highest first. */
  readonly versions: readonly VersionSnapshot[]
  /** Of the current version, once it is loaded. */
  readonly inputs?: readonly TensorInfo[]
  readonly outputs?: readonly TensorInfo[]
  /** The models that a pipeline asks, as far as it says so. */
  readonly stages?: readonly StageInfo[]
}

function highestFirst(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareVersions(b.name, a.name)
}

export function snapshot(model: ServedModel): ModelSnapshot {
  const { current, failure, definition } = model
  const { failure: configFailure } = model.configuration
  const { labels, canary, shadow } = model.traffic
  const stages = definition.kind === 'pipeline' ? definition.options.stages : []
  return {
    name: model.name,
    ...(model.options.description !== undefined && { description: model.options.description }),
    ...(current !== undefined && { current: current.name }),
    ...(labels.size > 0 && { labels: labels.toJSON() }),
    ...(canary !== undefined && { canary: canary.toJSON() }),
    ...(shadow !== undefined && { shadow: shadow.toJSON() }),
    ...(failure !== undefined && { reason: failure.message }),
    ...(configFailure !== undefined && { configReason: configFailure.message }),
    versions: [...model.versions.values()].sort(highestFirst).map((version) => {
      const { name, state, reason, loadTimeMs, session, batchSafety, batchSizes, changed } = version
      const quarantined = model.quarantine.reasonOf(name)
      return {
        version: name,
        state,
        ...(reason !== undefined && { reason: reason.message }),
        ...(loadTimeMs !== undefined && { loadTimeMs }),
        ...(session !== undefined && placeOf(session)),
        ...(session?.inspection?.sha256 !== undefined && { sha256: session.inspection.sha256 }),
        ...(batchSafety !== undefined && { batching: batchSafety }),
        ...(quarantined !== undefined && { quarantined }),
        ...(changed && { changed }),
        ...(batchSizes.length > 0 && { batchSizes: batchSizes.slice(0, mostSizes) }),
      }
    }),
    ...(current?.session !== undefined && {
      inputs: current.session.signature.inputs,
      outputs: current.session.signature.outputs,
    }),
    ...(stages.length > 0 && { stages }),
  }
}

/** Where a session runs, and on what. */
function placeOf({
  placement,
  instances = 1,
  width,
  providers,
}: SessionState): Pick<VersionSnapshot, 'placement' | 'instances' | 'intraOpThreads' | 'providers'> {
  return placement === 'remote' ? { placement } : { ...layoutOf({ placement, instances, width }), providers }
}
