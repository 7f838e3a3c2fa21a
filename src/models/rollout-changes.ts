import { ServingError } from '../errors.js'
import { isPlainObject, provided, type Fields } from '../options.js'
import { isOver, type RolloutEvent, type RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutFields, rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'
import type { Replicas } from '../state/replicas.js'
import { checkGate, type ValidationGate } from '../validation/validate.js'
import type { ChangeDraft, ChangeOrigin, Changes, ModelChange } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ModelHost } from './model-host.js'
import { byRollout, ModelRollouts, type RolloutModels } from './model-rollouts.js'
import { gated } from './model-validation.js'
import { notReady } from './not-ready.js'
import type { ServedModel } from './served-model.js'
import { SharedRollouts } from './shared-rollouts.js'

export interface StartRolloutOptions extends RolloutOptions {
  /** Cases that the version must pass before it has any share. Default: none. */
  readonly validate?: ValidationGate
}

export const startRolloutFields: Fields<StartRolloutOptions> = {
  ...rolloutFields,
  validate: provided('an object', isPlainObject),
}

export interface RolloutChangesHost extends Pick<ModelHost, 'clock' | 'logger' | 'within'> {
  readonly models: KnownModels
  readonly changes: Changes
  /** Where there are any, a rollout is one of all. */
  readonly replicas: Replicas | undefined
  /** Told of each step and of the end of the rollouts that this process judges. */
  readonly onRollout: (model: string, event: RolloutEvent) => void
}

/** Rollouts as somebody asks for them: that one begins, each of its steps and its end are recorded. */
export class RolloutChanges {
  readonly #rollouts: ModelRollouts
  readonly #shared: SharedRollouts | undefined

  /** @param actions what the rollouts do with the models, which must not be {@link refuse}d */
  constructor(
    actions: RolloutModels,
    private readonly host: RolloutChangesHost,
  ) {
    const { clock, logger, changes, replicas, onRollout } = host
    const options = {
      clock,
      logger,
      onEvent: (model: string, event: RolloutEvent) => {
        const why = { ...byRollout, reason: described(event) }
        const draft: ChangeDraft = { action: 'rollout', model, to: event.version, rollout: event }
        void changes.record(draft, why, async () => {})
        onRollout(model, event)
      },
    }
    if (replicas !== undefined)
      this.#shared = new SharedRollouts(actions, { ...options, changes, replicas, models: host.models.all })
    this.#rollouts = this.#shared?.own ?? new ModelRollouts(actions, options)
    changes.listen((change) => this.#heed(change))
  }

  #heed({ action, result, model, to, reason = '' }: ModelChange): void {
    if (result !== 'success') return
    if (action === 'unload' && this.host.models.all.get(model)?.current === undefined)
      this.#rollouts.end(model, 'the model was unloaded')
    if (to === undefined) return
    if (action === 'switch' || action === 'rollback') this.#rollouts.switched(model, to)
    if (action === 'quarantine') this.#rollouts.quarantined(model, to, reason)
  }

  start(model: string, given: StartRolloutOptions, origin: ChangeOrigin): Promise<RolloutStatus> {
    // Where types are not checked, there may be none.
    const { validate: gate, ...options } = { ...given }
    const draft: ChangeDraft = { action: 'rollout', model, to: options.version }
    return this.host.changes.record(draft, origin, async (change) => {
      const plan = rolloutPlan(options)
      if (gate !== undefined) checkGate(gate, 'startRollout()')
      const { version } = plan
      const found = await this.host.models.known(model)
      found.quarantine.check(version)
      this.#refuseOthers(found, plan)
      await this.host.within({}, found.firstLoad)
      if (found.isLazy) await this.host.within({}, found.wake() ?? Promise.resolve())
      const stable = found.current?.name
      change.from = stable
      if (stable === undefined) throw notReady(found)
      const load = async () => {
        await found.load(version, { activate: false })
      }
      if (gate === undefined) await load()
      else await gated(found, version, gate, load)
      this.#refuseOthers(found, plan)
      const isShadowed = found.traffic.shadow?.version === version
      return (
        this.#shared?.start(found, stable, plan, isShadowed, origin) ??
        this.#rollouts.start(model, stable, plan, isShadowed)
      )
    })
  }

  /** @throws ServingError CONFLICT where the canary or the shadow is another version than the one that is rolled out */
  #refuseOthers({ name, traffic }: ServedModel, { version, guards }: RolloutOptions): void {
    if (this.#underWay(name) !== undefined) return // which is told instead
    const { canary, shadow } = traffic
    const others = { canary, ...(guards?.agreement !== undefined && { shadow }) }
    for (const [role, other] of Object.entries(others)) {
      if (other === undefined || other.version === version) continue
      throw new ServingError(
        'CONFLICT',
        `version ${other.version} is the ${role} of "${name}": end that first.`,
      )
    }
  }

  #underWay(model: string): RolloutStatus | undefined {
    const status = this.of(model)
    return status === undefined || isOver(status.phase) ? undefined : status
  }

  /** @throws ServingError CONFLICT where a rollout has the model's canary and shadow */
  refuse(model: string): void {
    const underWay = this.#underWay(model)
    if (underWay === undefined) return
    throw new ServingError(
      'CONFLICT',
      `model "${model}" has a rollout of version ${underWay.version} under way: abort it first.`,
    )
  }

  /** The one that is under way, or the last one there was. */
  of(model: string): RolloutStatus | undefined {
    return (this.#shared ?? this.#rollouts).of(model)
  }

  /** The step under way of a version that is rolled out by this process, from 1. */
  stepOf(model: string, version: string): number | undefined {
    const status = this.#rollouts.of(model)
    return status?.version === version && !isOver(status.phase) ? status.step : undefined
  }

  abort(model: string, origin: ChangeOrigin): Promise<RolloutStatus> {
    const to = this.of(model)?.version
    return this.host.changes.record({ action: 'rollout', model, to }, origin, async () => {
      const found = await this.host.models.known(model)
      return this.#shared?.abort(found, origin) ?? this.#rollouts.abort(model, origin.reason)
    })
  }

  /** The session of a version ended by itself, and is not opened again at once. */
  died(model: string, version: string, reason: string): void {
    this.#rollouts.died(model, version, reason)
  }

  /** A version was loaded. */
  isBack(model: string, version: string): void {
    this.#rollouts.isBack(model, version)
  }

  async close(): Promise<void> {
    await this.#shared?.close()
    this.#rollouts.close()
  }
}

function described({ event, step, steps, percent, reason }: RolloutEvent): string {
  const where = `${event}, step ${step} of ${steps}, ${percent} %`
  return reason === undefined ? where : `${where}: ${reason}`
}
