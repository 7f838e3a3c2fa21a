import { checkFields } from '../options.js'
import type { Replicas } from '../state/replicas.js'
import type { ValidationGate } from '../validation/validate.js'
import type { ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import { gated } from './model-validation.js'
import type { LoadOptions, ServedModel } from './served-model.js'
import { snapshot, type ModelSnapshot } from './snapshot.js'
import { sourceField } from './sources/model-source.js'
import type { RollbackResult } from './version-history.js'

export interface SwitchOptions extends ChangeOrigin {
  /** Cases that the version must pass before it serves. Default: none. */
  readonly validate?: ValidationGate
}

/**
 * Which versions of a model are loaded and which one serves, as somebody asks for it: each change is recorded, and where
 * there are replicas it is one of all.
 */
export class VersionChanges {
  constructor(
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly replicas: Replicas | undefined,
  ) {}

  load(model: string, version: string, options: LoadOptions): Promise<ModelSnapshot> {
    const { source } = options
    const isSwitch = options.activate === true
    const action = isSwitch ? 'switch' : 'load'
    return this.changes.record({ action, model, to: version }, options, async (change) => {
      checkFields({ source }, { source: sourceField }, 'load()', 'INVALID_OPTIONS')
      const found = await this.models.known(model, source)
      await this.models.tryLoad(found, async () => {
        // What only this process has a source for, the others can't load.
        const isShared = source === undefined
        if (isShared && isSwitch) {
          change.from = await this.#switch(found, version, options)
          return
        }
        const from = await found.load(version, options)
        if (isSwitch) change.from = from
        else if (isShared) await this.replicas?.keepLoaded(model, version, true, options)
      })
      return snapshot(found)
    })
  }

  loadModel(model: string, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.changes.record({ action: 'load', model }, origin, async (change) => {
      const found = await this.models.known(model)
      await found.loadServing()
      change.to = found.current?.name
      return snapshot(found)
    })
  }

  switchVersion(
    model: string,
    version: string,
    { validate: gate, ...origin }: SwitchOptions,
  ): Promise<ModelSnapshot> {
    return this.changes.record({ action: 'switch', model, to: version }, origin, async (change) => {
      const found = await this.models.known(model)
      change.from = found.current?.name // if it fails, that goes on to serve
      const activate = async () => {
        change.from = await this.#switch(found, version, origin)
      }
      if (gate === undefined) await activate()
      else await gated(found, version, gate, activate)
      return snapshot(found)
    })
  }

  rollback(model: string, origin: ChangeOrigin): Promise<RollbackResult> {
    return this.changes.record({ action: 'rollback', model }, origin, async (change) => {
      const found = await this.models.known(model)
      change.from = found.current?.name
      const result = await (this.replicas?.rollback(found, origin) ?? found.rollback())
      change.from = result.from
      change.to = result.version
      return result
    })
  }

  unload(model: string, version: string | undefined, origin: ChangeOrigin): Promise<ModelSnapshot> {
    return this.changes.record({ action: 'unload', model, from: version }, origin, async (change) => {
      const found = await this.models.known(model)
      change.from = version ?? found.current?.name
      await found.unload(version)
      if (version !== undefined) await this.replicas?.keepLoaded(model, version, false, origin)
      return snapshot(found)
    })
  }

  /** Makes a version current, of all replicas where there are others. @returns the one that was until then */
  #switch(model: ServedModel, version: string, origin: ChangeOrigin): Promise<string | undefined> {
    return this.replicas?.switchTo(model, version, origin) ?? model.load(version, { activate: true })
  }
}
