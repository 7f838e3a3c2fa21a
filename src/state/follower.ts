import { dirname } from 'node:path'
import type { Clock, Timer } from '../clock.js'
import { asServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Changes } from '../models/changes.js'
import type { VersionState } from '../models/version.js'
import { Retry } from '../retry.js'
import { desiredOf, nothingDesired, type DesiredModel, type DesiredState } from './desired-state.js'
import { isFinal, type FailedVersion, type Heartbeat, type Heartbeats } from './heartbeats.js'
import type { StateFile } from './state-file.js'

/** What the replicas need of a model. */
export interface FollowedModel {
  readonly name: string
  readonly isLazy: boolean
  readonly current: { readonly name: string } | undefined
  readonly versions: ReadonlyMap<string, { readonly state: VersionState }>
  /** @returns the version that was current until then */
  load(version: string, options: { readonly activate?: boolean }): Promise<string | undefined>
  unload(version: string): Promise<void>
}

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

/** What this replica has done about one model. */
class Following {
  applied: DesiredModel | undefined
  /** Changes of the model, one after another: those of others, and those that this replica makes. */
  task: Promise<unknown> = Promise.resolve()
  isBusy = false
  readonly failed = new Map<string, FailedVersion>()

  constructor(readonly retry: Retry) {}
}

/** Makes a process serve what all replicas are to serve, and tells the others of what it has. */
export class Follower {
  #state: DesiredState = nothingDesired
  readonly #problems = new Map<Attempt, string>()
  readonly #following = new Map<string, Following>()
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
    for (const [name, desired] of Object.entries(this.#state.models)) this.#of(name).applied = desired
    await this.#beat()
  }

  /** Follows from now on, tells at once what models there are, and loads what is to be loaded beside the versions that serve. */
  start(): void {
    for (const model of this.host.models.values()) {
      const { loaded } = desiredOf(this.#state, model.name)
      if (loaded.length === 0 || model.isLazy) continue
      void this.alone(model.name, () => this.#loadAll(model, loaded)).catch((error: unknown) =>
        this.#failed(model, error),
      )
    }
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
    await this.#read()
    const isPending = Object.values(this.#state.models).some(({ pending }) => pending !== undefined)
    const live = isPending ? await this.liveIds() : new Set<string>()
    for (const model of this.host.models.values()) this.#follow(model, live)
    await this.#beat()
  }

  async liveIds(): Promise<Set<string>> {
    const live = await this.heartbeats.live().catch(() => [])
    return new Set(live.map(({ id }) => id))
  }

  /** Runs a change of this replica's own, during which it follows no other of the same model. */
  alone<T>(model: string, operation: () => Promise<T>): Promise<T> {
    const following = this.#of(model)
    following.isBusy = true
    const result = following.task.then(operation)
    const task: Promise<unknown> = result
      .catch(() => {}) // who asked for it has the error
      .finally(() => {
        if (following.task === task) following.isBusy = false
      })
    following.task = task
    return result
  }

  /**
   * This replica has applied what it has decided itself.
   * @param before the revision that it was decided upon: where that is not applied yet, all of it still is to be
   */
  applied(model: string, state: DesiredState, before: number): void {
    if (state.generation > this.#state.generation) this.#state = state
    const following = this.#of(model)
    if ((following.applied?.revision ?? 0) === before) following.applied = desiredOf(state, model)
  }

  #of(model: string): Following {
    let found = this.#following.get(model)
    if (found === undefined) {
      found = new Following(new Retry(this.host.clock, () => {}))
      this.#following.set(model, found)
    }
    return found
  }

  async #read(): Promise<void> {
    await this.#attempt('state', async () => {
      const state = await this.file.read()
      // A file that was removed, or put back from a copy, begins anew: nothing of it is applied.
      if (state.generation < this.#state.generation) {
        for (const following of this.#following.values()) following.applied = undefined
      }
      this.#state = state
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
    const following = this.#of(model.name)
    const desired = desiredOf(this.#state, model.name)
    if (following.isBusy || this.#isClosed) return
    const { pending } = desired
    if (desired.revision > (following.applied?.revision ?? 0)) {
      if (following.retry.waitMs > 0) return
      this.#task(model, () => this.#apply(model, following, desired))
    } else if (pending !== undefined && pending.replica !== this.heartbeats.id && live.has(pending.replica)) {
      const hasFailed = isFinal(following.failed.get(pending.version), pending.id)
      if (hasFailed || model.versions.get(pending.version)?.state === 'ready') return
      this.#task(model, () => this.#load(model, pending.version, pending.id))
    }
  }

  /** Never rejects. Whoever waits for this replica is told at once. */
  #task(model: FollowedModel, operation: () => Promise<void>): void {
    void this.alone(model.name, operation)
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

  async #apply(model: FollowedModel, following: Following, desired: DesiredModel): Promise<void> {
    const { applied, retry } = following
    const { current, loaded, decided } = desired
    try {
      if (current !== undefined && current !== applied?.current && current !== model.current?.name) {
        const { action = 'switch', actor = 'code', reason } = decided ?? {}
        const draft = { action, model: model.name, from: model.current?.name, to: current }
        await this.host.changes.record(draft, { actor, reason }, async (change) => {
          change.from = await model.load(current, { activate: true })
        })
      }
      await this.#loadAll(model, loaded)
      for (const version of applied?.loaded ?? []) {
        const isIdle = version !== model.current?.name && model.versions.get(version)?.state === 'ready'
        if (!loaded.includes(version) && isIdle) await model.unload(version)
      }
    } catch (error) {
      retry.failed(false)
      throw error
    }
    following.applied = desired
    retry.succeeded()
  }

  async #loadAll(model: FollowedModel, versions: readonly string[]): Promise<void> {
    for (const version of versions) {
      if (model.versions.get(version)?.state !== 'ready') await this.#load(model, version)
    }
  }

  async #load(model: FollowedModel, version: string, change?: string): Promise<void> {
    const { failed } = this.#of(model.name)
    try {
      await model.load(version, {})
      failed.delete(version)
    } catch (error) {
      const { code, message } = asServingError(error)
      failed.set(version, { ...(change !== undefined && { change }), code, message })
      throw error
    }
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
        failed: Object.fromEntries(this.#of(name).failed),
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
