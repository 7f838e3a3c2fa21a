import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import { ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { closed } from '../models/names.js'
import { refuseQuarantined } from './decisions.js'
import { desiredOf, withModel, withoutPending, type DesiredState } from './desired-state.js'
import { isFinal, type Heartbeat } from './heartbeats.js'
import type { ReplicaOptions } from './replica-options.js'
import type { StateFile } from './state-file.js'

export interface SwitchAgreementHost {
  /** Of this replica. */
  readonly id: string
  readonly file: StateFile
  readonly clock: Clock
  readonly logger: Logger
  readonly options: Required<ReplicaOptions>
  /** The replicas that live. */
  live(): Promise<Heartbeat[]>
}

/**
 * Switches that replicas make together: one is proposed, every replica that lives loads the version, and only then it is
 * decided. Whoever dies meanwhile leaves everything as it was.
 */
export class SwitchAgreement {
  #isClosed = false

  constructor(private readonly host: SwitchAgreementHost) {}

  /**
   * @param onTimeout what becomes of it where a replica has not loaded the version in time, or can't
   * @param decide what is written once all have
   * @returns the state with what was decided
   * @throws ServingError CONFLICT, TIMEOUT; what `decide` throws
   */
  async reach(
    model: string,
    version: string,
    onTimeout: 'abort' | 'commit',
    decide: (state: DesiredState) => DesiredState,
  ): Promise<DesiredState> {
    const id = randomUUID()
    await this.#propose(model, version, id)
    try {
      await this.#untilLoaded(model, version, id, onTimeout)
      return await this.host.file.change((state) => {
        const desired = desiredOf(state, model)
        if (desired.pending?.id !== id) throw changing(model)
        refuseQuarantined(desired, model, version)
        const decided = decide(state)
        return {
          ...decided,
          models: { ...decided.models, [model]: withoutPending(desiredOf(decided, model)) },
        }
      })
    } catch (error) {
      await this.#withdraw(model, id)
      throw error
    }
  }

  /** Ends every wait for others. */
  close(): void {
    this.#isClosed = true
  }

  async #propose(model: string, version: string, id: string): Promise<void> {
    const { file, id: replica } = this.host
    const live = await this.host.live().catch(() => [])
    await file.change((state) => {
      const desired = desiredOf(state, model)
      const { pending } = desired
      const isAnothers = pending !== undefined && pending.replica !== replica
      if (isAnothers && live.some((one) => one.id === pending.replica)) throw changing(model)
      refuseQuarantined(desired, model, version)
      return withModel(state, model, { ...desired, pending: { id, replica, version } })
    })
  }

  async #withdraw(model: string, id: string): Promise<void> {
    const withdrawn = this.host.file.change((state) => {
      const desired = desiredOf(state, model)
      return desired.pending?.id === id ? withModel(state, model, withoutPending(desired)) : state
    })
    // It is void once this replica has ended, and the next change of the model takes its place.
    await withdrawn.catch((error: unknown) => {
      this.host.logger.warn({ err: error, model }, `a change of ${model} could not be withdrawn`)
    })
  }

  /** Waits until every other replica that lives has loaded a version. */
  async #untilLoaded(
    model: string,
    version: string,
    change: string,
    onTimeout: 'abort' | 'commit',
  ): Promise<void> {
    const { clock, logger, id: own } = this.host
    const { waitMs, intervalMs } = this.host.options
    const deadline = clock.now() + waitMs
    for (;;) {
      if (this.#isClosed) throw closed()
      const missing = (await this.host.live()).filter((replica) => lacks(replica, own, model, version))
      const unable = missing.find(({ models }) => isFinal(models[model]?.failed[version], change))
      if (unable !== undefined && onTimeout === 'abort') {
        const why = unable.models[model]?.failed[version]?.message ?? ''
        throw new ServingError(
          'CONFLICT',
          `the replica ${unable.id} on ${unable.host} can't load ${model}@${version}: ${why}`,
        )
      }
      if (missing.every(({ models }) => isFinal(models[model]?.failed[version], change))) return
      if (clock.now() >= deadline) {
        const names = missing.map(({ id, host }) => `${id} on ${host}`).join(', ')
        const message = `${model}@${version} is not loaded after ${waitMs} ms (waitMs) by ${names}`
        if (onTimeout === 'abort') throw new ServingError('TIMEOUT', `${message}: nothing was changed.`)
        logger.warn({ model, version }, `${message}: they follow when they can.`)
        return
      }
      await new Promise<void>((resolve) => void clock.setTimer(resolve, Math.min(200, intervalMs)))
    }
  }
}

function lacks({ id, models }: Heartbeat, own: string, model: string, version: string): boolean {
  const found = Object.hasOwn(models, model) ? models[model] : undefined
  return id !== own && found !== undefined && !found.loaded.includes(version)
}

function changing(model: string): ServingError {
  return new ServingError('CONFLICT', `another replica is changing model "${model}"; try again.`)
}
