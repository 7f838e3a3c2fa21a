import {
  canaryEnded,
  canaryStarted,
  insteadOf,
  labelled,
  quarantined,
  released,
  unlabelled,
} from '../state/decisions.js'
import type { Decision, DesiredModel } from '../state/desired-state.js'
import type { Replicas } from '../state/replicas.js'
import type { CanaryOptions } from './canary.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ServedModel } from './served-model.js'
import type { ShadowOptions } from './shadow.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'

/** A change of a model's traffic, in the parts that it has where it is one of all replicas. */
interface TrafficChange {
  /** What must be so here before all are told. */
  readonly prepare: () => Promise<void>
  readonly decision: Decision
  /** Makes it so here; where this process is alone that is all. @param desired what was decided, where there are others */
  readonly apply: (desired?: DesiredModel) => Promise<void>
}

/**
 * Which requests go to which version, and to which none may go, as somebody asks for it: each change is recorded, and
 * where there are replicas it is one of all, but for shadows.
 */
export class TrafficControl {
  constructor(
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly replicas: Replicas | undefined,
  ) {}

  setLabel(model: string, label: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#change({ action: 'label', model, to: version }, origin, ({ traffic }) => ({
      prepare: () => traffic.prepareLabel(label, version),
      decision: labelled(model, label, version),
      apply: () => traffic.setLabel(label, version),
    }))
  }

  removeLabel(model: string, label: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#change({ action: 'label', model }, origin, ({ traffic }) => ({
      prepare: async () => traffic.checkHas(label),
      decision: unlabelled(label),
      apply: () => traffic.removeLabel(label),
    }))
  }

  canary(model: string, options: CanaryOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#change({ action: 'canary', model, to: options.version }, origin, (found) => ({
      prepare: () => found.traffic.prepareCanary(options),
      decision: (desired) => canaryStarted(model, options, found.current?.name)(desired),
      apply: () => found.traffic.startCanary(options),
    }))
  }

  endCanary(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#change({ action: 'canary', model }, origin, ({ traffic }) => ({
      prepare: async () => {},
      decision: canaryEnded,
      apply: () => traffic.endCanary(),
    }))
  }

  shadow(model: string, options: ShadowOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'shadow', model, to: options.version }
    return this.#record(draft, origin, ({ traffic }) => traffic.startShadow(options))
  }

  endShadow(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record({ action: 'shadow', model }, origin, ({ traffic }) => traffic.endShadow())
  }

  quarantine(model: string, version: string, reason: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const why = { ...origin, reason }
    return this.#change({ action: 'quarantine', model, to: version }, why, (found) => {
      const { name } = found.version(version)
      const entry = { at: new Date().toISOString(), actor: origin.actor ?? 'code', reason }
      return {
        prepare: async () => {
          const desired = this.replicas?.desiredOf(model)
          const instead = desired && insteadOf(desired, name, found)
          if (instead !== undefined) await found.load(instead, {})
        },
        decision: (desired) => quarantined(name, entry, found)(desired),
        apply: (desired) => takeOut(found, name, reason, desired?.current),
      }
    })
  }

  release(model: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#change({ action: 'release', model, to: version }, origin, ({ quarantine }) => ({
      prepare: async () => quarantine.checkHas(version),
      decision: released(version),
      apply: async () => quarantine.release(version),
    }))
  }

  #change(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    change: (model: ServedModel) => TrafficChange,
  ): Promise<ModelSnapshot> {
    return this.#record(draft, origin, async (found) => {
      const parts = change(found)
      if (this.replicas === undefined) await parts.apply()
      else await this.replicas.decide(found, origin, { action: draft.action, ...parts })
    })
  }

  #record(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    change: (model: ServedModel) => Promise<void>,
  ): Promise<ModelSnapshot> {
    return this.changes.record(draft, origin, async () => {
      const found = await this.models.known(draft.model)
      await change(found)
      return snapshot(found)
    })
  }
}

/** Takes a version out of service here. @param instead what is to serve where it does; else what served before it */
async function takeOut(
  model: ServedModel,
  version: string,
  reason: string,
  instead: string | undefined,
): Promise<void> {
  if (model.current?.name === version) {
    if (instead === undefined) await model.rollback()
    else await model.load(instead, { activate: true })
  }
  model.quarantine.add(version, reason)
  const { canary, shadow } = model.traffic
  if (canary?.version === version) await model.traffic.endCanary()
  if (shadow?.version === version) await model.traffic.endShadow()
}
