import { ServingError } from '../errors.js'
import { isPlainObject, provided, type Fields } from '../options.js'
import type { RolloutEvent, RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutFields, rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'
import { checkGate, type ValidationGate } from '../validation/validate.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ModelHost } from './model-host.js'
import { byRollout, ModelRollouts, type RolloutTools } from './model-rollouts.js'
import { gated } from './model-validation.js'
import { notReady } from './not-ready.js'
import type { ServedModel } from './served-model.js'

export interface StartRolloutOptions extends RolloutOptions {
  /** Cases that the version must pass before it has any share. Default: none. */
  readonly validate?: ValidationGate
}

export const startRolloutFields: Fields<StartRolloutOptions> = {
  ...rolloutFields,
  validate: provided('an object', isPlainObject),
}

/** Rollouts as somebody asks for them: that one begins, each of its steps and its end are recorded. */
export class RolloutChanges {
  readonly #rollouts: ModelRollouts

  /** @param tools what the rollouts change the models with, which must not {@link refuse} them */
  constructor(
    tools: RolloutTools,
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly host: Pick<ModelHost, 'clock' | 'logger' | 'within'>,
  ) {
    const { clock, logger } = host
    this.#rollouts = new ModelRollouts(tools, {
      clock,
      logger,
      onEvent: (model, event) => {
        const why = { ...byRollout, reason: described(event) }
        const draft: ChangeDraft = { action: 'rollout', model, to: event.version, rollout: event }
        void changes.record(draft, why, async () => {})
      },
    })
    changes.listen(({ action, result, model, to, reason }) => {
      if (result !== 'success') return
      const isSwitch = action === 'switch' || action === 'rollback'
      if (isSwitch && to !== undefined) this.#rollouts.switched(model, to)
      if (action === 'quarantine' && to === this.of(model)?.version)
        this.#rollouts.interrupt(model, `version ${to} was put into quarantine: ${reason}`)
      if (action === 'unload' && models.all.get(model)?.current === undefined)
        this.#rollouts.interrupt(model, 'the model was unloaded')
    })
  }

  start(model: string, given: StartRolloutOptions, origin: ChangeOrigin): Promise<RolloutStatus> {
    // Where types are not checked, there may be none.
    const { validate: gate, ...options } = { ...given }
    const draft: ChangeDraft = { action: 'rollout', model, to: options.version }
    return this.changes.record(draft, origin, async (change) => {
      const plan = rolloutPlan(options)
      if (gate !== undefined) checkGate(gate, 'startRollout()')
      const { version } = plan
      const found = await this.models.known(model)
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
      return this.#rollouts.start(model, stable, plan, found.traffic.shadow?.version === version)
    })
  }

  /** @throws ServingError CONFLICT where the canary or the shadow is another version than the one that is rolled out */
  #refuseOthers({ name, traffic }: ServedModel, { version, guards }: RolloutOptions): void {
    const { canary, shadow } = traffic
    const others = { canary, ...(guards?.agreement !== undefined && { shadow }) }
    for (const [role, other] of Object.entries(others)) {
      if (other === undefined || other.version === version || this.#rollouts.isUnderWay(name)) continue
      throw new ServingError(
        'CONFLICT',
        `version ${other.version} is the ${role} of "${name}": end that first.`,
      )
    }
  }

  /** @throws ServingError CONFLICT where a rollout has the model's canary and shadow */
  refuse(model: string): void {
    if (!this.#rollouts.isUnderWay(model)) return
    const version = this.of(model)?.version ?? ''
    throw new ServingError(
      'CONFLICT',
      `model "${model}" has a rollout of version ${version} under way: abort it first.`,
    )
  }

  /** The one that is under way, or the last one there was. */
  of(model: string): RolloutStatus | undefined {
    return this.#rollouts.of(model)
  }

  abort(model: string, origin: ChangeOrigin): Promise<RolloutStatus> {
    const to = this.#rollouts.of(model)?.version
    return this.changes.record({ action: 'rollout', model, to }, origin, async () =>
      this.#rollouts.abort(model, origin.reason),
    )
  }

  close(): void {
    this.#rollouts.close()
  }
}

function described({ event, step, steps, percent, reason }: RolloutEvent): string {
  const where = `${event}, step ${step} of ${steps}, ${percent} %`
  return reason === undefined ? where : `${where}: ${reason}`
}
