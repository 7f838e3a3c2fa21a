import type { RolloutEvent, RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ModelHost } from './model-host.js'
import { ModelRollouts, type RolloutModels } from './model-rollouts.js'
import { notReady } from './not-ready.js'

/** Rollouts as somebody asks for them: that one begins, each of its steps and its end are recorded. */
export class RolloutChanges {
  readonly #rollouts: ModelRollouts

  /** @param actions what the rollouts do with the models */
  constructor(
    actions: RolloutModels,
    private readonly models: KnownModels,
    private readonly changes: Changes,
    private readonly host: Pick<ModelHost, 'clock' | 'logger' | 'within'>,
  ) {
    const { clock, logger } = host
    this.#rollouts = new ModelRollouts(actions, {
      clock,
      logger,
      onEvent: (model, event) => {
        const why = { actor: 'rollout', reason: described(event) }
        const draft: ChangeDraft = { action: 'rollout', model, to: event.version }
        void changes.record(draft, why, async () => {})
      },
    })
    changes.listen(({ action, result, model, to }) => {
      const isSwitch = action === 'switch' || action === 'rollback'
      if (isSwitch && result === 'success' && to !== undefined) this.#rollouts.switched(model, to)
    })
  }

  start(model: string, options: RolloutOptions, origin: ChangeOrigin): Promise<RolloutStatus> {
    const { version } = options
    return this.changes.record({ action: 'rollout', model, to: version }, origin, async (change) => {
      rolloutPlan(options) // says what is wrong with them
      const found = await this.models.known(model)
      found.quarantine.check(version)
      await this.host.within({}, found.firstLoad)
      change.from = found.current?.name
      if (change.from === undefined) throw notReady(found)
      await found.load(version, { activate: false })
      return this.#rollouts.start(model, change.from, options)
    })
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
