import { dirname } from 'node:path'
import type { Clock, Timer } from '../clock.js'
import { asServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Changes } from '../models/changes.js'
import { desiredOf, nothingDesired, type DesiredModel, type DesiredState } from './desired-state.js'
import { Following } from './following.js'
import { isFinal, type Heartbeat, type Heartbeats } from './heartbeats.js'
import { heedQuarantines, isAsleep, reconcile, type FollowedModel, type ReconcileHost } from './reconcile.js'
import type { StateFile } from './state-file.js'

export interface FollowerHost {
  readonly models: ReadonlyMap<string, FollowedModel>
  readonly changes: Changes
  readonly logger: Logger
  readonly clock: Clock
}

/** What may fail again and again, with what it is called. */
const attempts = {
  state: ['the replicas are not followed', 'the state of the replicas can be read again'],
  heartbeat: [
    'the other replicas do not know of this one, and wait for it at no change',
    'the other replicas know of this one again',
  ],
} as const

type Attempt = keyof typeof attempts

/** Makes a process serve what all replicas are to serve, and tells the others of what it has. */
export class Follower {
  #state: DesiredState = nothingDesired
  readonly #problems = new Map<Attempt, string>()
  readonly #following = new WeakMap<FollowedModel, Following>()
  /** Told after each look. */
  onLook: () => void = () => {}
  #timer: Timer | undefined
  #isClosed = false

  constructor(
    private readonly file: StateFile,
    private readonly heartbeats: Heartbeats,
    private readonly host: FollowerHost,
    private readonly intervalMs: number,
  ) {}

  get state(): DesiredState {
    return this.#state
  }

  /** Why the state could not be read, while what was read before stays in force; or why nobody knows of this replica. */
  get problem(): string | undefined {
    return this.#problems.get('state') ?? this.#problems.get('heartbeat')
  }

  /** Reads the state from which the models start. Never rejects. */
  async open(): Promise<void> {
    await this.#attempt('heartbeat', async () => {
      await this.file.open()
      await this.heartbeats.open()
    })
    await this.#read()
    await this.#beat()
  }

  /** Follows from now on, and tells at once what models there are. */
  start(): void {
    for (const model of this.host.models.values()) this.#follow(model, new Set())
    void this.#beat()
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#timer = this.host.clock.setTimer(
      () => void this.poll().finally(() => this.#schedule()),
      this.intervalMs,
      { background: true },
    )
  }

  /** Looks at the state once, and begins to apply what is new. Never rejects. */
  async poll(): Promise<void> {
    // Models that came since have started from what was known until now.
    for (const model of this.host.models.values()) this.#of(model)
    await this.#read()
    const isPending = Object.values(this.#state.models).some(({ pending }) => pending !== undefined)
    const live = isPending ? await this.liveIds() : new Set<string>()
    for (const model of this.host.models.values()) this.#follow(model, live)
    this.onLook()
    await this.#beat()
  }

  async liveIds(): Promise<Set<string>> {
    const live = await this.heartbeats.live().catch(() => [])
    return new Set(live.map(({ id }) => id))
  }

  /** Runs a change of this replica's own, during which it follows no other of the same model. */
  alone<T>(model: FollowedModel, operation: () => Promise<T>): Promise<T> {
    return this.#of(model).alone(operation)
  }

  /**
   * This replica has applied what it has decided itself.
   * @param before the revision that it was decided upon: where that is not applied yet, all of it still is to be
   */
  applied(model: FollowedModel, state: DesiredState, before: number): void {
    if (state.generation > this.#state.generation) this.#state = state
    const following = this.#of(model)
    if (!following.isNew && (following.applied?.revision ?? 0) === before)
      following.applied = desiredOf(state, model.name)
  }

  /** Makes a model what is desired of it anew, whatever was done to it. */
  renew(model: FollowedModel): void {
    this.#of(model).isNew = true
  }

  #of(model: FollowedModel): Following {
    let found = this.#following.get(model)
    if (found === undefined) {
      found = new Following(model.name, this.#state, this.host.clock)
      this.#following.set(model, found)
    }
    return found
  }

  async #read(): Promise<void> {
    await this.#attempt('state', async () => {
      const { generation: known } = this.#state
      const state = await this.file.read()
      // A file that was removed, or put back from a copy, begins anew: nothing of it is applied.
      const isAnew = state.generation < known
      if (isAnew) for (const model of this.host.models.values()) this.#of(model).applied = undefined
      // This replica may have written a newer one meanwhile.
      if (isAnew || state.generation > this.#state.generation) this.#state = state
    })
  }

  /** What fails is told once, and is a problem until it no longer does. */
  async #attempt(what: Attempt, operation: () => Promise<void>): Promise<void> {
    const { path } = this.file
    const [problem, end] = attempts[what]
    try {
      await operation()
      if (this.#problems.delete(what)) this.host.logger.info({}, end)
    } catch (error) {
      // Readiness tells it to everybody: where the folder lies is for the log.
      const message = `${problem}: ${asServingError(error).message.replaceAll(dirname(path), 'stateDir')}`
      if (!this.#problems.has(what)) this.host.logger.error({ err: error, path }, message)
      this.#problems.set(what, message)
    }
  }

  #follow(model: FollowedModel, live: ReadonlySet<string>): void {
    if (this.#isClosed) return
    const following = this.#of(model)
    const desired = desiredOf(this.#state, model.name)
    // What it is just deciding itself it tells of itself.
    const isOwn = following.isBusy && desired.decided?.replica === this.heartbeats.id
    if (!isOwn) heedQuarantines(model, desired, following.applied, this.#recorder(following))
    if (following.isBusy) return
    const { pending } = desired
    if (following.isDue(desired) && !isAsleep(model)) {
      this.#task(model, () => this.#apply(model, following, desired))
    } else if (pending !== undefined && pending.replica !== this.heartbeats.id && live.has(pending.replica)) {
      const { id, version } = pending
      if (isFinal(following.failed.get(version), id) || model.versions.get(version)?.state === 'ready') return
      this.#task(model, () => this.#prepare(model, following, version, id))
    }
  }

  /** What a model begins with is no change. */
  #recorder(following: Following): ReconcileHost['record'] {
    const { changes } = this.host
    return (draft, origin, operation) =>
      following.isNew ? operation(draft) : changes.record(draft, origin, operation)
  }

  /** Never rejects. Whoever waits for this replica is told at once. */
  #task(model: FollowedModel, operation: () => Promise<void>): void {
    void this.alone(model, operation)
      .catch((error: unknown) => this.#failed(model, error))
      .then(() => this.#beat())
  }

  #failed(model: FollowedModel, error: unknown): void {
    if (this.#isClosed) return
    const { message } = asServingError(error)
    this.host.logger.error(
      { err: error, model: model.name },
      `${model.name} does not follow the other replicas: ${message}`,
    )
  }

  /** Loads what another replica is about to switch to. */
  async #prepare(model: FollowedModel, following: Following, version: string, change: string): Promise<void> {
    // What sleeps would else begin with a version that nobody has decided on.
    if (model.current === undefined) await model.wake()
    await following.need(version, () => model.load(version, {}), change)
  }

  async #apply(model: FollowedModel, following: Following, desired: DesiredModel): Promise<void> {
    const result = await reconcile(model, desired, following.applied, {
      need: (version, operation) => following.need(version, operation),
      record: this.#recorder(following),
      failed: (error) => this.#failed(model, error),
    })
    if (result === 'done') following.succeeded(desired)
    else if (result === 'failed') following.gaveUp(desired)
  }

  async #beat(): Promise<void> {
    if (this.#isClosed) return
    const models: Record<string, Heartbeat['models'][string]> = {}
    for (const [name, model] of this.host.models) {
      const loaded = [...model.versions]
        .filter(([, { state }]) => state === 'ready')
        .map(([version]) => version)
      models[name] = {
        ...(model.current !== undefined && { current: model.current.name }),
        loaded,
        failed: Object.fromEntries(this.#of(model).failed),
      }
    }
    await this.#attempt('heartbeat', () => this.heartbeats.beat(this.#state.generation, models))
  }

  /** Others no longer wait for this replica. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.clear()
    await this.heartbeats.end()
  }
}
