import { ServingError } from '../errors.js'
import { show, text } from '../options.js'
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
  /** @param refuse throws where something else has the canary and the shadow of a model. Default: nothing has */
  constructor(
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly replicas: Replicas | undefined,
    private readonly refuse: (model: string) => void = () => {},
  ) {}

  setLabel(model: string, label: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'label', model, label, to: version }
    return this.#change(draft, origin, ({ traffic }) => ({
      prepare: () => traffic.prepareLabel(label, version),
      decision: labelled(model, label, version),
      apply: async () => {
        draft.from = await traffic.setLabel(label, version)
      },
    }))
  }

  removeLabel(model: string, label: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'label', model, label }
    return this.#change(draft, origin, ({ traffic }) => ({
      prepare: async () => traffic.checkHas(label),
      decision: unlabelled(label),
      apply: async () => {
        draft.from = await traffic.removeLabel(label)
      },
    }))
  }

  canary(model: string, options: CanaryOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const { version: to, percent } = { ...options } // where types are not checked, there may be none
    const draft: ChangeDraft = { action: 'canary', model, to, percent }
    return this.#change(draft, origin, (found) => {
      this.refuse(model)
      draft.from = found.traffic.canary?.version
      return {
        prepare: () => found.traffic.prepareCanary(options),
        decision: (desired) => canaryStarted(model, options, found.current?.name)(desired),
        apply: () => found.traffic.startCanary(options),
      }
    })
  }

  endCanary(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'canary', model }
    return this.#change(draft, origin, ({ traffic }) => {
      this.refuse(model)
      draft.from = traffic.canary?.version
      return { prepare: async () => {}, decision: canaryEnded, apply: () => traffic.endCanary() }
    })
  }

  shadow(model: string, options: ShadowOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const { version: to } = { ...options }
    const draft: ChangeDraft = { action: 'shadow', model, to }
    return this.#record(draft, origin, async ({ traffic }) => {
      this.refuse(model)
      draft.from = traffic.shadow?.version
      await traffic.startShadow(options)
    })
  }

  endShadow(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'shadow', model }
    return this.#record(draft, origin, async ({ traffic }) => {
      this.refuse(model)
      draft.from = traffic.shadow?.version
      await traffic.endShadow()
    })
  }

  quarantine(model: string, version: string, reason: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const why = { ...origin, reason }
    return this.#change({ action: 'quarantine', model, to: version }, why, (found) => {
      refuseNoReason(reason)
      const { name } = found.version(version)
      const entry = { at: new Date().toISOString(), actor: origin.actor ?? 'code', reason }
      return {
        prepare: async () => {
          const desired = this.replicas?.desiredOf(model)
          const instead = desired && insteadOf(desired, name, found)
          if (instead !== undefined) await found.load(instead, {})
        },
        decision: (desired) => quarantined(name, entry, found)(desired),
        apply: async (desired) => {
          if (found.current?.name === name) await this.#goBack(found, desired?.current, why)
          await takeOut(found, name, reason)
        },
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

  /** Another version serves then: a change of its own. @param to Default: what served before */
  #goBack(model: ServedModel, to: string | undefined, origin: ChangeOrigin): Promise<void> {
    const draft: ChangeDraft = { action: 'rollback', model: model.name, from: model.current?.name, to }
    return this.changes.record(draft, origin, async (change) => {
      if (to === undefined) change.to = (await model.rollback()).version
      else await model.load(to, { activate: true })
    })
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

/** Takes a version that does not serve out of service here. */
async function takeOut(model: ServedModel, version: string, reason: string): Promise<void> {
  model.quarantine.add(version, reason)
  const { canary, shadow } = model.traffic
  if (canary?.version === version) await model.traffic.endCanary()
  if (shadow?.version === version) await model.traffic.endShadow()
}

/** Where types are not checked, it may be left out; what is told to everybody who asks can't be. */
function refuseNoReason(reason: unknown): void {
  if (text.accepts(reason)) return
  const message = `quarantine(): the reason must be ${text.expected}; got ${show(reason)}.`
  throw new ServingError('INVALID_OPTIONS', message)
}
