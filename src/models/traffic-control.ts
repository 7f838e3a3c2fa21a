import { ServingError } from '../errors.js'
import { show, text } from '../options.js'
import type { CanaryOptions } from './canary.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ServedModel } from './served-model.js'
import type { ShadowOptions } from './shadow.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'

/** Which requests go to which version, and to which none may go, as somebody asks for it; each change is recorded. */
export class TrafficControl {
  /** @param refuse throws where something else has the canary and the shadow of a model. Default: nothing has */
  constructor(
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly refuse: (model: string) => void = () => {},
  ) {}

  setLabel(model: string, label: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record(
      { action: 'label', model, label, to: version },
      origin,
      async ({ traffic }, change) => {
        change.from = await traffic.setLabel(label, version)
      },
    )
  }

  removeLabel(model: string, label: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record({ action: 'label', model, label }, origin, async ({ traffic }, change) => {
      change.from = await traffic.removeLabel(label)
    })
  }

  canary(model: string, options: CanaryOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const { version: to, percent } = { ...options } // where types are not checked, there may be none
    return this.#record({ action: 'canary', model, to, percent }, origin, async ({ traffic }, change) => {
      this.refuse(model)
      change.from = traffic.canary?.version
      await traffic.startCanary(options)
    })
  }

  endCanary(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record({ action: 'canary', model }, origin, async ({ traffic }, change) => {
      this.refuse(model)
      change.from = traffic.canary?.version
      await traffic.endCanary()
    })
  }

  shadow(model: string, options: ShadowOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const { version: to } = { ...options }
    return this.#record({ action: 'shadow', model, to }, origin, async ({ traffic }, change) => {
      this.refuse(model)
      change.from = traffic.shadow?.version
      await traffic.startShadow(options)
    })
  }

  endShadow(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record({ action: 'shadow', model }, origin, async ({ traffic }, change) => {
      this.refuse(model)
      change.from = traffic.shadow?.version
      await traffic.endShadow()
    })
  }

  quarantine(model: string, version: string, reason: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const why = { ...origin, reason }
    return this.#record({ action: 'quarantine', model, to: version }, why, async (found) => {
      refuseNoReason(reason)
      found.version(version)
      if (found.current?.name === version) await this.#rollBack(found, why)
      found.quarantine.add(version, reason)
      const { canary, shadow } = found.traffic
      if (canary?.version === version) await found.traffic.endCanary()
      if (shadow?.version === version) await found.traffic.endShadow()
    })
  }

  release(model: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#record({ action: 'release', model, to: version }, origin, async (found) => {
      found.quarantine.release(version)
    })
  }

  /** Another version serves then: a change of its own. */
  #rollBack(model: ServedModel, origin: ChangeOrigin): Promise<void> {
    const draft: ChangeDraft = { action: 'rollback', model: model.name, from: model.current?.name }
    return this.changes.record(draft, origin, async (change) => {
      change.to = (await model.rollback()).version
    })
  }

  #record(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    operation: (model: ServedModel, change: ChangeDraft) => Promise<void>,
  ): Promise<ModelSnapshot> {
    return this.changes.record(draft, origin, async (change) => {
      const found = await this.models.known(draft.model)
      await operation(found, change)
      return snapshot(found)
    })
  }
}

/** Where types are not checked, it may be left out; what is told to everybody who asks can't be. */
function refuseNoReason(reason: unknown): void {
  if (text.accepts(reason)) return
  const message = `quarantine(): the reason must be ${text.expected}; got ${show(reason)}.`
  throw new ServingError('INVALID_OPTIONS', message)
}
