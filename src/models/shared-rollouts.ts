import { randomUUID } from 'node:crypto'
import { asServingError, ServingError } from '../errors.js'
import { isOver, type RolloutStatus } from '../rollout/rollout-host.js'
import { rolloutPlan, type RolloutOptions } from '../rollout/rollout-options.js'
import { checkRolloutState, freshState } from '../rollout/rollout-state.js'
import { statusOf } from '../rollout/rollout-status.js'
import { aborted, begun, isUnderWay, takenOver, type DesiredRollout } from '../state/desired-rollout.js'
import type { DesiredModel } from '../state/desired-state.js'
import type { Replicas } from '../state/replicas.js'
import type { ChangeOrigin, Changes } from './changes.js'
import { ModelRollouts, type ModelRolloutsOptions, type RolloutModels } from './model-rollouts.js'
import { RolloutLead } from './rollout-lead.js'
import type { ServedModel } from './served-model.js'

export interface SharedRolloutsOptions extends ModelRolloutsOptions {
  readonly replicas: Replicas
  readonly models: ReadonlyMap<string, ServedModel>
  readonly changes: Changes
}

/**
 * Rollouts over replicas. The one that starts a rollout leads it: it judges its own traffic, and writes what it decides,
 * and how the rollout stands, to the state. All follow that; and where the leader dies, another goes on from it.
 */
export class SharedRollouts {
  /** Those that this replica leads. */
  readonly own: ModelRollouts
  readonly #leads = new Map<string, RolloutLead>()
  readonly #takingOver = new Set<ServedModel>()
  /** What is wrong with rollouts that nobody leads, by their ids: told once. */
  readonly #problems = new Map<string, string>()
  #isClosed = false

  /** @param actions what rollouts do with the models of this process */
  constructor(
    actions: RolloutModels,
    private readonly options: SharedRolloutsOptions,
  ) {
    const { replicas } = options
    this.own = new ModelRollouts(
      {
        onOutcome: (model, listener) => actions.onOutcome(model, listener),
        shadow: (model, shadow) => actions.shadow(model, shadow),
        endShadow: (model) => actions.endShadow(model),
        canary: async (model, canary) => this.#leads.get(model)?.canary(canary),
        endCanary: async (model) => this.#leads.get(model)?.endCanary(),
        quarantine: async (model, version, reason) => this.#leads.get(model)?.quarantine(version, reason),
        switchVersion: (model, version) => this.#promote(model, () => actions.switchVersion(model, version)),
      },
      {
        ...options,
        onEvent: (model, event) => {
          // What can't be done of it is told to the rollout.
          this.#leads
            .get(model)
            ?.write()
            .catch(() => {})
          options.onEvent(model, event)
        },
      },
    )
    replicas.onLook(() => {
      for (const model of options.models.values()) this.#look(model)
    })
  }

  /** @throws ServingError as {@link ModelRollouts.start}; CONFLICT where another replica leads one of the model */
  async start(
    model: ServedModel,
    stable: string,
    options: RolloutOptions,
    isShadowed: boolean,
    origin: ChangeOrigin,
  ): Promise<RolloutStatus> {
    const { replicas } = this.options
    const { name } = model
    const plan = rolloutPlan(options)
    this.own.checkStart(name, stable, plan.version)
    const id = randomUUID()
    const rollout = { id, leader: replicas.id, stable, rollout: freshState(plan) }
    await replicas.decide(model, origin, { action: 'rollout', decision: begun(name, rollout) })
    const lead = this.#lead(model, id)
    const status = this.own.start(name, stable, options, isShadowed)
    await lead.write().catch(() => {}) // the first share; what can't be done of it is told to the rollout
    return this.own.of(name) ?? status
  }

  /**
   * As it is where this replica leads it, else as its leader wrote it last.
   * @throws ServingError INVALID_CONFIG where that is no rollout that this release knows
   */
  of(model: string): RolloutStatus | undefined {
    const { rollout: found } = this.options.replicas.desiredOf(model)
    if (found === undefined || found.id === this.#leads.get(model)?.id) return this.own.of(model)
    checkRolloutState(found.rollout)
    return statusOf(found.rollout)
  }

  /** @throws ServingError CONFLICT where none is under way, or it is being promoted */
  async abort(model: ServedModel, origin: ChangeOrigin): Promise<RolloutStatus> {
    const { name } = model
    const lead = this.#leads.get(name)
    if (lead !== undefined && this.#isUnderWay(name)) {
      const status = this.own.abort(name, origin.reason)
      await lead.write()
      return status
    }
    const { rollout } = await this.options.replicas.decide(model, origin, {
      action: 'rollout',
      decision: aborted(name, origin.reason ?? 'an operator ended it'),
      apply: async ({ canary }) => {
        if (canary === undefined) await model.traffic.endCanary()
      },
    })
    if (rollout === undefined) throw new ServingError('CONFLICT', `model "${name}" has no rollout under way.`)
    return statusOf(rollout.rollout)
  }

  /** Writes how those stand that it leads: another replica goes on from that. */
  async close(): Promise<void> {
    this.#isClosed = true
    const leading = [...this.#leads].filter(([name]) => this.#isUnderWay(name))
    await Promise.all(leading.map(([, lead]) => lead.close()))
    this.own.close()
    this.#leads.clear()
  }

  /** Whether one that this replica leads has not ended. */
  #isUnderWay(model: string): boolean {
    const phase = this.#leads.has(model) ? this.own.of(model)?.phase : undefined
    return phase !== undefined && !isOver(phase)
  }

  #lead(model: ServedModel, id: string): RolloutLead {
    const { replicas, changes, clock, logger } = this.options
    const lead: RolloutLead = new RolloutLead(id, model, {
      replicas,
      changes,
      clock,
      logger,
      stored: () => this.own.stored(model.name),
      onWritten: (desired) => this.#heed(lead, desired),
    })
    this.#leads.set(model.name, lead)
    return lead
  }

  /** That it is being promoted is written first: from then on nobody ends it. */
  async #promote(model: string, switchVersion: () => Promise<unknown>): Promise<void> {
    const lead = this.#leads.get(model)
    await lead?.write()
    if (lead === undefined || this.#leads.get(model) !== lead || lead.isBehind) {
      throw new ServingError('CONFLICT', 'it could not be said to the other replicas.')
    }
    const { rollout, current } = this.options.replicas.desiredOf(model)
    if (!isUnderWay(rollout)) throw new ServingError('CONFLICT', 'another replica has ended it meanwhile.')
    if (isReplaced(rollout, current))
      throw new ServingError('CONFLICT', `version ${current} serves meanwhile.`)
    await switchVersion()
  }

  #look(model: ServedModel): void {
    if (this.#isClosed) return
    const { name } = model
    const desired = this.options.replicas.desiredOf(name)
    const lead = this.#leads.get(name)
    if (lead !== undefined) this.#heed(lead, desired)
    this.#leads.get(name)?.look(this.own.of(name)?.phase === 'running')
    if (!this.#isUnderWay(name) && isUnderWay(desired.rollout)) void this.#takeOver(model, desired.rollout)
  }

  /** Follows what others have decided about a rollout that is led here. */
  #heed(lead: RolloutLead, { rollout, quarantined }: DesiredModel): void {
    const { replicas, logger } = this.options
    const { name } = lead.model
    if (this.#leads.get(name) !== lead || rollout === undefined) return
    if (rollout.id === lead.id && rollout.leader === replicas.id) {
      const { version } = rollout.rollout.plan
      const out = Object.hasOwn(quarantined, version) ? quarantined[version] : undefined
      if (isOver(rollout.rollout.phase)) this.own.end(name, rollout.rollout.reason)
      else if (out !== undefined) this.own.quarantined(name, version, out.reason)
      return
    }
    // It was taken for dead; what it did to the traffic since then is no longer for it to say.
    this.#leads.delete(name)
    if (!this.own.drop(name)) return
    replicas.renew(lead.model)
    logger.warn({ model: name }, `the rollout of ${name} is led by the replica ${rollout.leader} now`)
  }

  /** Goes on with a rollout whose leader is dead, once this replica can. Never rejects. */
  async #takeOver(model: ServedModel, rollout: DesiredRollout): Promise<void> {
    if (this.#takingOver.has(model)) return
    this.#takingOver.add(model)
    try {
      await this.#tryToTakeOver(model, rollout)
      this.#problems.delete(rollout.id)
    } catch (error) {
      const { message } = asServingError(error)
      if (this.#problems.get(rollout.id) === message) return
      this.#problems.set(rollout.id, message)
      this.options.logger.error(
        { err: error, model: model.name },
        `the rollout of ${model.name} can't go on here: ${message}`,
      )
    } finally {
      this.#takingOver.delete(model)
    }
  }

  async #tryToTakeOver(model: ServedModel, found: DesiredRollout): Promise<void> {
    const { replicas, logger } = this.options
    const { name } = model
    const live = await replicas.liveIds()
    // One that can't see itself can't tell who else lives.
    if (!live.has(replicas.id) || live.has(found.leader)) return
    const { version } = found.rollout.plan
    checkRolloutState(found.rollout)
    const isOut = model.quarantine.reasonOf(version)
    const { current } = replicas.desiredOf(name)
    const isEnding = isOut !== undefined || isReplaced(found, current)
    if (!isEnding && !canGoOn(model, found)) return

    const { rollout } = await replicas.note(model, takenOver(found, replicas.id))
    if (rollout?.id !== found.id || rollout.leader !== replicas.id || this.#isClosed) return
    logger.warn({ model: name }, `the rollout of ${name} goes on here: the replica ${found.leader} is gone`)
    this.#lead(model, found.id)
    this.own.resume(name, rollout)
    if (isOut !== undefined) this.own.quarantined(name, version, isOut)
    else if (isReplaced(found, current)) this.own.switched(name, current)
    else this.own.isBack(name, found.stable)
  }
}

/** Whether somebody has made a third version the one that serves. */
function isReplaced({ stable, rollout }: DesiredRollout, current: string | undefined): current is string {
  return current !== undefined && current !== stable && current !== rollout.plan.version
}

/** Whether both versions serve here; for a promotion the new one is enough. */
function canGoOn({ current, versions }: ServedModel, { stable, rollout }: DesiredRollout): boolean {
  if (versions.get(rollout.plan.version)?.state !== 'ready') return false
  return rollout.phase === 'promoting' || (current?.name === stable && current.state === 'ready')
}
