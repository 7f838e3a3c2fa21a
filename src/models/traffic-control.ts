import type { CanaryOptions } from './canary.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ShadowOptions } from './shadow.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import type { Traffic } from './traffic.js'

/** Which requests go to which version, and to which none may go, as somebody asks for it; each change is recorded. */
export class TrafficControl {
  constructor(
    private readonly models: KnownModels,
    private readonly changes: Changes,
  ) {}

  setLabel(model: string, label: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'label', model, to: version }
    return this.#route(draft, origin, (traffic) => traffic.setLabel(label, version))
  }

  removeLabel(model: string, label: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#route({ action: 'label', model }, origin, (traffic) => traffic.removeLabel(label))
  }

  canary(model: string, options: CanaryOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'canary', model, to: options.version }
    return this.#route(draft, origin, (traffic) => traffic.startCanary(options))
  }

  endCanary(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#route({ action: 'canary', model }, origin, (traffic) => traffic.endCanary())
  }

  shadow(model: string, options: ShadowOptions, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const draft: ChangeDraft = { action: 'shadow', model, to: options.version }
    return this.#route(draft, origin, (traffic) => traffic.startShadow(options))
  }

  endShadow(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.#route({ action: 'shadow', model }, origin, (traffic) => traffic.endShadow())
  }

  #route(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    change: (traffic: Traffic) => Promise<void>,
  ): Promise<ModelSnapshot> {
    return this.changes.record(draft, origin, async () => {
      const found = await this.models.known(draft.model)
      await change(found.traffic)
      return snapshot(found)
    })
  }

  quarantine(model: string, version: string, reason: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    const why = { ...origin, reason }
    return this.changes.record({ action: 'quarantine', model, to: version }, why, async () => {
      const found = await this.models.known(model)
      found.version(version)
      if (found.current?.name === version) await found.rollback()
      found.quarantine.add(version, reason)
      const { canary, shadow } = found.traffic
      if (canary?.version === version) await found.traffic.endCanary()
      if (shadow?.version === version) await found.traffic.endShadow()
      return snapshot(found)
    })
  }

  release(model: string, version: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.changes.record({ action: 'release', model, to: version }, origin, async () => {
      const found = await this.models.known(model)
      found.quarantine.release(version)
      return snapshot(found)
    })
  }
}
