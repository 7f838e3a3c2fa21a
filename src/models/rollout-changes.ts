import { isOver, type RolloutEvent, type RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'
import type { Replicas } from '../state/replicas.js'
import type { ChangeDraft, ChangeOrigin, Changes, ModelChange } from './changes.js'
import type { KnownModels } from './known-models.js'
import type { ModelHost } from './model-host.js'
import { ModelRollouts, type RolloutModels } from './model-rollouts.js'
import { notReady } from './not-ready.js'
import { SharedRollouts } from './shared-rollouts.js'

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

  /** @param actions what the rollouts do with the models */
  constructor(
    actions: RolloutModels,
    private readonly host: RolloutChangesHost,
  ) {
    const { clock, logger, changes, replicas, onRollout } = host
    const options = {
      clock,
      logger,
      onEvent: (model: string, event: RolloutEvent) => {
        const why = { actor: 'rollout', reason: described(event) }
        const draft: ChangeDraft = { action: 'rollout', model, to: event.version }
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
    if (result !== 'success' || to === undefined) return
    if (action === 'switch' || action === 'rollback') this.#rollouts.switched(model, to)
    if (action === 'quarantine') this.#rollouts.quarantined(model, to, reason)
  }

  start(model: string, options: RolloutOptions, origin: ChangeOrigin): Promise<RolloutStatus> {
    const { version } = options
    return this.host.changes.record({ action: 'rollout', model, to: version }, origin, async (change) => {
      rolloutPlan(options) // says what is wrong with them
      const found = await this.host.models.known(model)
      found.quarantine.check(version)
      await this.host.within({}, found.firstLoad)
      change.from = found.current?.name
      if (change.from === undefined) throw notReady(found)
      await found.load(version, { activate: false })
      return (
        this.#shared?.start(found, change.from, options, origin) ??
        this.#rollouts.start(model, change.from, options)
      )
    })
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
