import { Backoff } from '../backoff.js'
import type { Clock, Timer } from '../clock.js'
import { ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import type { LoadedArtifact, RunResult, Session } from './session.js'

/** One of the sessions. While it is dead, `session` is undefined, and either `timer` or `opening` is set. */
interface Instance {
  session: Session | undefined
  running: number
  readonly backoff: Backoff
  timer: Timer | undefined
  opening: Promise<void> | undefined
}

export interface InstancesOptions {
  readonly clock: Clock
  /** Told of each instance that ends by itself. */
  readonly onInstanceDied?: ((reason: ServingError) => void) | undefined
}

/**
 * Several sessions of one artifact as one. A run goes to the living one with the fewest runs under way. One that
 * dies is opened again, with a growing wait, while the others serve; with the last of them all are dead.
 */
export class Instances implements Session {
  readonly placement = 'thread'
  readonly width: number
  readonly instances: number
  readonly died: Promise<ServingError>
  readonly #artifact: LoadedArtifact
  readonly #instances: readonly Instance[]
  readonly #open: () => Promise<Session>
  readonly #options: InstancesOptions
  #die: (reason: ServingError) => void = () => {}
  #death: ServingError | undefined
  #closing: Promise<void> | undefined

  private constructor(
    first: Session,
    sessions: readonly Session[],
    open: () => Promise<Session>,
    options: InstancesOptions,
  ) {
    this.width = first.width
    this.instances = sessions.length
    this.#artifact = first
    this.#open = open
    this.#options = options
    this.died = new Promise((resolve) => (this.#die = resolve))
    this.#instances = sessions.map(() => ({
      session: undefined,
      running: 0,
      backoff: new Backoff(),
      timer: undefined,
      opening: undefined,
    }))
    this.#instances.forEach((instance, i) => this.#put(instance, sessions[i]))
  }

  /**
   * Opens `count` sessions, one after another: together they took no less time and more memory at once, and a model
   * that can't be loaded would fail in each of them.
   * @throws what `open` throws, after the sessions that were opened before are closed
   */
  static async create(
    count: number,
    open: () => Promise<Session>,
    options: InstancesOptions,
  ): Promise<Instances> {
    const first = await open()
    const sessions = [first]
    try {
      while (sessions.length < count) sessions.push(await open())
    } catch (error) {
      await Promise.all(sessions.map((session) => session.close()))
      throw error
    }
    return new Instances(first, sessions, open, options)
  }

  get signature() {
    return this.#artifact.signature
  }

  get providers() {
    return this.#artifact.providers
  }

  get warnings() {
    return this.#artifact.warnings
  }

  get inspection() {
    return this.#artifact.inspection
  }

  /** Those of the living. */
  get slots(): number {
    return this.#instances.reduce((sum, { session }) => sum + (session?.slots ?? 0), 0)
  }

  async run(feeds: Feeds): Promise<RunResult> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the session is closed')
    let least: (Instance & { session: Session }) | undefined
    for (const instance of this.#instances) {
      if (isAlive(instance) && (least === undefined || instance.running < least.running)) least = instance
    }
    if (least === undefined) throw this.#death ?? new ServingError('WORKER_DIED', 'no instance lives')
    least.running++
    try {
      const result = await least.session.run(feeds)
      least.backoff.succeeded()
      return result
    } finally {
      least.running--
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#forgetTimers()
    await Promise.all(
      this.#instances.map(async (instance) => {
        await instance.opening
        await instance.session?.close()
      }),
    )
  }

  #put(instance: Instance, session: Session | undefined): void {
    instance.session = session
    void session?.died.then((reason) => {
      instance.session = undefined
      this.#lost(instance, reason)
    })
  }

  #lost(instance: Instance, reason: ServingError): void {
    if (this.#closing !== undefined) return
    this.#options.onInstanceDied?.(reason)
    if (this.#instances.some(isAlive)) return this.#openLater(instance)
    this.#death = reason
    this.#forgetTimers()
    this.#die(reason)
  }

  #openLater(instance: Instance): void {
    const open = () => {
      instance.timer = undefined
      instance.opening = this.#openAgain(instance).finally(() => (instance.opening = undefined))
    }
    instance.timer = this.#options.clock.setTimer(open, instance.backoff.failed(), { background: true })
  }

  async #openAgain(instance: Instance): Promise<void> {
    let session: Session
    try {
      session = await this.#open()
    } catch {
      if (!this.#isOver) this.#openLater(instance) // the next attempt may fare better
      return
    }
    if (this.#isOver) await session.close()
    else this.#put(instance, session)
  }

  get #isOver(): boolean {
    return this.#closing !== undefined || this.#death !== undefined
  }

  #forgetTimers(): void {
    for (const instance of this.#instances) {
      instance.timer?.clear()
      instance.timer = undefined
    }
  }
}

function isAlive(instance: Instance): instance is Instance & { session: Session } {
  return instance.session !== undefined
}
