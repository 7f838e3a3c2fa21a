import { randomUUID } from 'node:crypto'
import { asServingError, ServingError } from '../errors.js'
import type { ChangeAction, ChangeOrigin } from '../models/changes.js'
import type { RollbackResult } from '../models/version-history.js'
import { previousOf, refuseQuarantined, rolledBackTo, switchedTo } from './decisions.js'
import {
  decide,
  desiredOf,
  withModel,
  type Decision,
  type DesiredModel,
  type DesiredState,
} from './desired-state.js'
import { Follower, type FollowerHost } from './follower.js'
import { Heartbeats, type Heartbeat } from './heartbeats.js'
import type { FollowedModel } from './reconcile.js'
import type { ReplicaOptions } from './replica-options.js'
import { StateFile } from './state-file.js'
import { SwitchAgreement } from './switch-agreement.js'

/** A decision about a model, and what is to be done here for it. */
export interface SharedChange {
  readonly action: ChangeAction
  readonly decision: Decision
  /** Before it is made: where this throws, nobody hears of it. */
  readonly prepare?: () => Promise<void>
  /** Once it is made: makes it so here, as the others do when they see it. */
  readonly apply?: (desired: DesiredModel) => Promise<void>
}

/** This process as one of several on a folder: a change that it makes is one of all. */
export class Replicas {
  /** Of this process, and no other before or after it. */
  readonly id = `${process.pid}-${randomUUID().slice(0, 8)}`
  readonly #file: StateFile
  readonly #heartbeats: Heartbeats
  readonly #follower: Follower
  readonly #agreement: SwitchAgreement
  readonly #options: Required<ReplicaOptions>
  #opening: Promise<void> | undefined

  constructor(
    folder: string,
    { intervalMs = 1000, deadAfterIntervals = 5, waitMs = 30_000, onTimeout = 'abort' }: ReplicaOptions,
    host: FollowerHost,
  ) {
    const { clock, logger } = host
    this.#options = { intervalMs, deadAfterIntervals, waitMs, onTimeout }
    this.#file = new StateFile(folder, clock)
    this.#heartbeats = new Heartbeats(folder, this.id, intervalMs * deadAfterIntervals)
    this.#follower = new Follower(this.#file, this.#heartbeats, host, intervalMs)
    const { id } = this
    const file = this.#file
    const options = this.#options
    this.#agreement = new SwitchAgreement({ id, file, clock, logger, options, live: () => this.live() })
  }

  /** Reads the state, so that {@link desiredOf} knows it. Never rejects. */
  open(): Promise<void> {
    return (this.#opening ??= this.#follower.open())
  }

  /** Follows the others from now on: the models are known. */
  start(): void {
    this.#follower.start()
  }

  /** Calls `listener` each time this replica has looked at the state. */
  onLook(listener: () => void): void {
    this.#follower.onLook = listener
  }

  /** How often this replica looks at the state, in milliseconds. */
  get intervalMs(): number {
    return this.#options.intervalMs
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

  /** The replicas that live. @throws ServingError CONFLICT where the folder can't be read */
  live(): Promise<Heartbeat[]> {
    return this.#heartbeats.live().catch((error: unknown) => {
      throw asServingError(error, 'CONFLICT', 'the other replicas could not be looked at')
    })
  }

  /** The ids of the replicas that live. */
  liveIds(): Promise<ReadonlySet<string>> {
    return this.#follower.liveIds()
  }

  /**
   * Makes a version current on all replicas.
   * @returns the version that was current here until then
   * @throws ServingError as a load; CONFLICT for a version in quarantine, while another replica changes the model, and
   *   where a replica could not load the version; TIMEOUT where it has not in time
   */
  async switchTo(model: FollowedModel, version: string, origin: ChangeOrigin): Promise<string | undefined> {
    await this.open()
    return this.#follower.alone(model, async () => {
      refuseQuarantined(this.desiredOf(model.name), model.name, version)
      await model.load(version, {})
      return this.#switch(model, version, 'switch', origin, () => switchedTo(version, model.current?.name))
    })
  }

  /**
   * Goes back on all replicas to the version before the last switch of any of them. It is pinned: a restart does not
   * undo it.
   * @throws ServingError CONFLICT where there was no switch; as {@link switchTo}
   */
  async rollback(model: FollowedModel, origin: ChangeOrigin): Promise<RollbackResult> {
    await this.open()
    return this.#follower.alone(model, async () => {
      const desired = desiredOf(await this.#file.sound(), model.name)
      const version = previousOf(desired)
      const from = desired.history.at(-1)
      if (version === undefined || from === undefined) {
        throw new ServingError(
          'CONFLICT',
          `model "${model.name}" was never switched: there is nothing to go back to.`,
        )
      }
      const reloaded = model.versions.get(version)?.state !== 'ready'
      await model.load(version, {})
      await this.#switch(model, version, 'rollback', origin, () => rolledBackTo(version))
      return { version, from, reloaded }
    })
  }

  async #switch(
    model: FollowedModel,
    version: string,
    action: 'switch' | 'rollback',
    origin: ChangeOrigin,
    decision: () => Decision,
  ): Promise<string | undefined> {
    const { name } = model
    let revision = 0
    const onTimeout = action === 'rollback' ? 'commit' : this.#options.onTimeout
    const state = await this.#agreement.reach(name, version, onTimeout, (before) => {
      revision = desiredOf(before, name).revision
      return decide(before, name, this.id, action, origin, decision())
    })
    const from = await model.load(version, { activate: true })
    this.#follower.applied(model, state, revision)
    return from
  }

  /**
   * Decides something about a model for all replicas: it is written, done here, and done by each other once it sees it.
   * @returns what is desired of the model from now on
   * @throws ServingError CONFLICT where the state can't be written; what the parts of the change throw
   */
  async decide(
    model: FollowedModel,
    origin: ChangeOrigin,
    { action, decision, prepare, apply }: SharedChange,
  ): Promise<DesiredModel> {
    await this.open()
    return this.#follower.alone(model, async () => {
      await prepare?.()
      return this.#write(
        model,
        (state) => decide(state, model.name, this.id, action, origin, decision),
        apply,
      )
    })
  }

  /** Writes down something about a model that no replica has to apply. @throws as {@link decide} */
  async note(model: FollowedModel, change: Decision): Promise<DesiredModel> {
    await this.open()
    return this.#write(model, (state) => {
      const desired = desiredOf(state, model.name)
      const changed = change(desired)
      return changed === undefined ? state : withModel(state, model.name, { ...desired, ...changed })
    })
  }

  async #write(
    model: FollowedModel,
    next: (state: DesiredState) => DesiredState,
    apply?: (desired: DesiredModel) => Promise<void>,
  ): Promise<DesiredModel> {
    let revision = 0
    const state = await this.#file.change((before) => {
      revision = desiredOf(before, model.name).revision
      return next(before)
    })
    const desired = desiredOf(state, model.name)
    await apply?.(desired)
    this.#follower.applied(model, state, revision)
    return desired
  }

  /** Makes a model what is desired of it anew: it was made something else here. */
  renew(model: FollowedModel): void {
    this.#follower.renew(model)
  }

  /** Whether all replicas are to have a version loaded beside the one that serves. */
  async keepLoaded(
    model: FollowedModel,
    version: string,
    isKept: boolean,
    origin: ChangeOrigin,
  ): Promise<void> {
    await this.decide(model, origin, {
      action: isKept ? 'load' : 'unload',
      decision: ({ loaded, current }) => {
        if (loaded.includes(version) === isKept || current === version) return undefined
        const others = loaded.filter((name) => name !== version)
        return { loaded: isKept ? [...others, version] : others }
      },
    })
  }

  close(): Promise<void> {
    this.#agreement.close()
    return this.#follower.close()
  }
}
