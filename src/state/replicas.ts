import { randomUUID } from 'node:crypto'
import { asServingError, ServingError } from '../errors.js'
import type { ChangeAction, ChangeOrigin } from '../models/changes.js'
import { closed } from '../models/names.js'
import type { RollbackResult } from '../models/version-history.js'
import { integer, oneOf, type Fields } from '../options.js'
import {
  decide,
  desiredOf,
  rolledBackTo,
  switchedTo,
  withModel,
  withoutPending,
  type DesiredModel,
  type DesiredState,
} from './desired-state.js'
import { Follower, type FollowedModel, type FollowerHost } from './follower.js'
import { Heartbeats, isFinal, type Heartbeat } from './heartbeats.js'
import { StateFile } from './state-file.js'

export interface ReplicaOptions {
  /** How often a replica looks at the state and tells of itself, in milliseconds. Default: 1000. */
  readonly intervalMs?: number
  /** A replica that has told nothing for so many intervals is dead: nobody waits for it. Default: 5. */
  readonly deadAfterIntervals?: number
  /** How long a switch waits until every replica that lives has loaded the version. Default: 30,000. */
  readonly waitMs?: number
  /**
   * What becomes of a switch after that time: `'abort'`, all go on as before, or `'commit'`, those that could not load
   * the version follow as soon as they can. A rollback is always done. Default: `'abort'`.
   */
  readonly onTimeout?: 'abort' | 'commit'
}

export const replicaFields: Fields<ReplicaOptions> = {
  intervalMs: integer(10, 3_600_000),
  deadAfterIntervals: integer(2, 1000),
  waitMs: integer(0, 2 ** 31 - 1),
  onTimeout: oneOf('abort', 'commit'),
}

/**
 * This process as one of several on a folder: a change that it makes is one of all. It is proposed, every replica that
 * lives loads the version, and then it is decided; whoever dies meanwhile leaves everything as it was.
 */
export class Replicas {
  readonly #id = `${process.pid}-${randomUUID().slice(0, 8)}`
  readonly #file: StateFile
  readonly #heartbeats: Heartbeats
  readonly #follower: Follower
  readonly #pollMs: number
  readonly #options: Required<ReplicaOptions>
  #opening: Promise<void> | undefined
  #isClosed = false

  constructor(
    folder: string,
    { intervalMs = 1000, deadAfterIntervals = 5, waitMs = 30_000, onTimeout = 'abort' }: ReplicaOptions,
    private readonly host: FollowerHost,
  ) {
    this.#options = { intervalMs, deadAfterIntervals, waitMs, onTimeout }
    this.#pollMs = Math.min(200, intervalMs)
    this.#file = new StateFile(folder, host.clock)
    this.#heartbeats = new Heartbeats(folder, this.#id, intervalMs * deadAfterIntervals)
    this.#follower = new Follower(this.#file, this.#heartbeats, host, intervalMs)
  }

  /** Reads the state, so that {@link currentOf} knows it. Never rejects. */
  open(): Promise<void> {
    return (this.#opening ??= this.#follower.open())
  }

  /** Follows the others from now on: the models are known. */
  start(): void {
    this.#follower.start()
  }

  /** The generation of the state that this replica has seen. */
  get generation(): number {
    return this.#follower.state.generation
  }

  /** Why the others are not followed. */
  get problem(): string | undefined {
    return this.#follower.problem
  }

  desiredOf(model: string): DesiredModel {
    return desiredOf(this.#follower.state, model)
  }

  /** The version that was decided to serve, where one was. */
  currentOf(model: string): string | undefined {
    return this.desiredOf(model).current
  }

  /** The replicas that live. @throws ServingError CONFLICT where the folder can't be read */
  live(): Promise<Heartbeat[]> {
    return this.#heartbeats.live().catch((error: unknown) => {
      throw asServingError(error, 'CONFLICT', 'the other replicas could not be looked at')
    })
  }

  /**
   * Makes a version current on all replicas.
   * @returns the version that was current here until then
   * @throws ServingError as a load; CONFLICT for a version in quarantine, while another replica changes the model, and
   *   where a replica could not load the version; TIMEOUT where it has not in time
   */
  async switchTo(model: FollowedModel, version: string, origin: ChangeOrigin): Promise<string | undefined> {
    await this.open()
    return this.#follower.alone(model.name, async () => {
      refuseQuarantined(this.desiredOf(model.name), model.name, version)
      await model.load(version, {})
      return this.#change(model, version, 'switch', origin, (from) => switchedTo(version, from))
    })
  }

  /**
   * Goes back on all replicas to the version before the last switch of any of them. It is pinned: a restart does not
   * undo it.
   * @throws ServingError CONFLICT where there was no switch; as {@link switchTo}
   */
  async rollback(model: FollowedModel, origin: ChangeOrigin): Promise<RollbackResult> {
    await this.open()
    return this.#follower.alone(model.name, async () => {
      const { history } = desiredOf(await this.#file.sound(), model.name)
      const version = history.at(-2)
      const from = history.at(-1)
      if (version === undefined || from === undefined) {
        throw new ServingError(
          'CONFLICT',
          `model "${model.name}" was never switched: there is nothing to go back to.`,
        )
      }
      const reloaded = model.versions.get(version)?.state !== 'ready'
      await model.load(version, {})
      await this.#change(model, version, 'rollback', origin, () => rolledBackTo(version))
      return { version, from, reloaded }
    })
  }

  /**
   * Changes something else of what is desired of a model, on all replicas: each applies it when it sees it. What of it
   * is to be done here is the caller's.
   */
  async amend(
    model: string,
    action: ChangeAction,
    origin: ChangeOrigin,
    change: (desired: DesiredModel) => Partial<DesiredModel>,
  ): Promise<void> {
    await this.open()
    let revision = 0
    const state = await this.#file.change((before) => {
      revision = desiredOf(before, model).revision
      return decide(before, model, this.#id, action, origin, change)
    })
    this.#follower.applied(model, state, revision)
  }

  /** Whether all replicas are to have a version loaded beside the one that serves. */
  async keepLoaded(model: string, version: string, isKept: boolean, origin: ChangeOrigin): Promise<void> {
    await this.open()
    const { loaded, current } = desiredOf(await this.#file.sound(), model)
    if (loaded.includes(version) === isKept || current === version) return
    await this.amend(model, isKept ? 'load' : 'unload', origin, ({ loaded }) => {
      const others = loaded.filter((name) => name !== version)
      return { loaded: isKept ? [...others, version] : others }
    })
  }

  async #change(
    model: FollowedModel,
    version: string,
    action: 'switch' | 'rollback',
    origin: ChangeOrigin,
    decision: (from: string | undefined) => (desired: DesiredModel) => Partial<DesiredModel>,
  ): Promise<string | undefined> {
    const id = randomUUID()
    const { name } = model
    await this.#propose(name, version, id)
    let state: DesiredState
    let revision = 0
    try {
      await this.#untilLoaded(name, version, id, action === 'rollback' ? 'commit' : this.#options.onTimeout)
      state = await this.#file.change((before) => {
        const { pending, revision: decidedBefore } = desiredOf(before, name)
        if (pending?.id !== id) throw changing(name)
        revision = decidedBefore
        refuseQuarantined(desiredOf(before, name), name, version)
        const decided = decide(before, name, this.#id, action, origin, decision(model.current?.name))
        return { ...decided, models: { ...decided.models, [name]: withoutPending(desiredOf(decided, name)) } }
      })
    } catch (error) {
      await this.#withdraw(name, id)
      throw error
    }
    const from = await model.load(version, { activate: true })
    this.#follower.applied(name, state, revision)
    return from
  }

  async #propose(model: string, version: string, id: string): Promise<void> {
    const live = await this.#follower.liveIds()
    await this.#file.change((state) => {
      const desired = desiredOf(state, model)
      const { pending } = desired
      if (pending !== undefined && pending.replica !== this.#id && live.has(pending.replica)) {
        throw changing(model)
      }
      refuseQuarantined(desired, model, version)
      return withModel(state, model, { ...desired, pending: { id, replica: this.#id, version } })
    })
  }

  async #withdraw(model: string, id: string): Promise<void> {
    const withdrawn = this.#file.change((state) => {
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
    const { clock, logger } = this.host
    const deadline = clock.now() + this.#options.waitMs
    for (;;) {
      if (this.#isClosed) throw closed()
      const missing = (await this.live()).filter((replica) => lacks(replica, this.#id, model, version))
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
        const message = `${model}@${version} is not loaded after ${this.#options.waitMs} ms (waitMs) by ${names}`
        if (onTimeout === 'abort') throw new ServingError('TIMEOUT', `${message}: nothing was changed.`)
        logger.warn({ model, version }, `${message}: they follow when they can.`)
        return
      }
      await new Promise<void>((resolve) => void clock.setTimer(resolve, this.#pollMs))
    }
  }

  close(): Promise<void> {
    this.#isClosed = true
    return this.#follower.close()
  }
}

function lacks({ id, models }: Heartbeat, own: string, model: string, version: string): boolean {
  const found = Object.hasOwn(models, model) ? models[model] : undefined
  return id !== own && found !== undefined && !found.loaded.includes(version)
}

/** @throws ServingError CONFLICT */
function refuseQuarantined({ quarantined }: DesiredModel, model: string, version: string): void {
  const found = Object.hasOwn(quarantined, version) ? quarantined[version] : undefined
  if (found === undefined) return
  throw new ServingError('CONFLICT', `${model}@${version} is in quarantine: ${found.reason}`)
}

function changing(model: string): ServingError {
  return new ServingError('CONFLICT', `another replica is changing model "${model}"; try again.`)
}
