import type { Clock } from '../clock.js'
import { asServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { StoredRollout } from '../rollout/rollouts.js'
import { kept, type RolloutEffects } from '../state/desired-rollout.js'
import type { Decision, DesiredModel } from '../state/desired-state.js'
import type { Replicas } from '../state/replicas.js'
import type { CanaryOptions } from './canary.js'
import type { ChangeDraft, ChangeOrigin, Changes } from './changes.js'
import { byRollout } from './model-rollouts.js'
import type { ServedModel } from './served-model.js'

export interface RolloutLeadHost {
  readonly replicas: Replicas
  readonly changes: Changes
  readonly clock: Clock
  readonly logger: Logger
  /** How the rollout stands. */
  stored(): StoredRollout | undefined
  /** Told of what is desired of the model after each write. */
  onWritten(desired: DesiredModel): void
}

/** How long the figures of a rollout go on unwritten, in looks at the state. */
const writtenEveryLooks = 5

/**
 * What makes a rollout that this replica leads one of all replicas: how it stands is written together with what it does
 * to the traffic. A write that fails is tried again, and keeps nothing from being done here.
 */
export class RolloutLead {
  /** What is done to the traffic and not written yet. */
  #effects: RolloutEffects = {}
  #queued: Promise<void> | undefined
  #isBehind = false
  #writtenAt: number

  constructor(
    readonly id: string,
    readonly model: ServedModel,
    private readonly host: RolloutLeadHost,
  ) {
    this.#writtenAt = host.clock.now()
  }

  /** Whether the last write failed. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** @throws ServingError where the version can't have it here */
  canary({ version, percent }: CanaryOptions): Promise<void> {
    return this.#decide({ canary: { version, percent } })
  }

  async endCanary(): Promise<void> {
    // At once here, however long the write takes.
    await Promise.all([this.model.traffic.endCanary(), this.#decide({ canary: null })])
  }

  quarantine(version: string, reason: string): Promise<void> {
    this.model.quarantine.add(version, reason) // at once, too
    return this.#decide({ quarantine: { at: new Date().toISOString(), actor: 'rollout', reason } })
  }

  /** Writes how the rollout stands. */
  write(): Promise<void> {
    return this.#decide({})
  }

  /** Writes how it stands where the last write failed, or was long ago. */
  look(isRunning: boolean): void {
    const { clock, replicas } = this.host
    const isDue = isRunning && clock.now() - this.#writtenAt >= writtenEveryLooks * replicas.intervalMs
    if (this.#isBehind || isDue) void this.#decide({}).catch(() => {}) // of an effect: it was told to who asked for it
  }

  /** Writes how it stands, for the replica that goes on with it. Never rejects. */
  async close(): Promise<void> {
    const { replicas, logger } = this.host
    const { model } = this
    await replicas
      .note(model, (desired) => this.#kept({})(desired))
      .catch((error: unknown) => {
        logger.warn({ err: error, model: model.name }, `the rollout of ${model.name} could not be written`)
      })
  }

  #kept(effects: RolloutEffects): Decision {
    const stored = this.host.stored()
    if (stored === undefined) return () => undefined
    return kept({ id: this.id, leader: this.host.replicas.id, ...stored }, effects)
  }

  /** What is decided at one time goes in one write. */
  #decide(effects: RolloutEffects): Promise<void> {
    Object.assign(this.#effects, effects)
    return (this.#queued ??= Promise.resolve().then(() => this.#write()))
  }

  async #write(): Promise<void> {
    const { replicas, clock } = this.host
    const { model } = this
    const effects = this.#effects
    this.#queued = undefined
    this.#effects = {}
    this.#writtenAt = clock.now()
    const decision: Decision = (desired) => this.#kept(effects)(desired) // as it stands then
    const isNote = effects.canary === undefined && effects.quarantine === undefined
    const failures: unknown[] = []
    const apply = () => this.#apply(effects).catch((error: unknown) => void failures.push(error))
    try {
      const action = effects.quarantine === undefined ? 'canary' : 'quarantine'
      const origin: ChangeOrigin = { actor: 'rollout', reason: effects.quarantine?.reason }
      const desired = isNote
        ? await replicas.note(model, decision)
        : await replicas.decide(model, origin, { action, decision, apply })
      this.#isBehind = false
      this.host.onWritten(desired)
    } catch (error) {
      this.#fellBehind(error, effects)
    }
    if (failures.length > 0) throw asServingError(failures[0])
  }

  #fellBehind(error: unknown, effects: RolloutEffects): void {
    const { logger } = this.host
    const { name } = this.model
    this.#effects = { ...effects, ...this.#effects }
    if (!this.#isBehind) {
      const { message } = asServingError(error)
      logger.error(
        { err: error, model: name },
        `the rollout of ${name} is not known to the other replicas: ${message}`,
      )
    }
    this.#isBehind = true
  }

  /** Does here what was decided for all, and tells of it. */
  async #apply({ canary, quarantine }: RolloutEffects): Promise<void> {
    const { changes } = this.host
    const { name: model, traffic } = this.model
    const version = this.host.stored()?.rollout.plan.version
    if (canary !== undefined) {
      const { version: to, percent } = canary ?? {}
      const draft: ChangeDraft = { action: 'canary', model, percent, from: traffic.canary?.version, to }
      await changes.record(draft, byRollout, () =>
        canary === null ? traffic.endCanary() : traffic.startCanary(canary),
      )
    }
    if (quarantine !== undefined) {
      const draft: ChangeDraft = { action: 'quarantine', model, to: version }
      await changes.record(draft, quarantine, async () => {})
    }
  }
}
