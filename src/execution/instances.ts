import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { Retry } from '../retry.js'
import type { Feeds } from '../tensor/tensor.js'
import { NotBegun, type LoadedArtifact, type Place, type RunResult, type Session } from './session.js'

/** One of the sessions. While it is dead, `session` is undefined, and it is opened again or waits for that. */
interface Instance {
  session: Session | undefined
  running: number
  readonly retry: Retry
  opening: Promise<void> | undefined
}

export interface InstancesOptions {
  readonly clock: Clock
  /** Told of each instance that ends by itself and is opened again. */
  readonly onInstanceDied?: ((reason: ServingError) => void) | undefined
  /**
   * Asked when none lives any more: whether one is opened again at once, while what waits is kept. Default: never,
   * with the last of them all are dead.
   */
  readonly mayRestart?: ((reason: ServingError) => boolean) | undefined
  /** Told when there are more slots again. */
  readonly onInstanceOpened?: (() => void) | undefined
}

/**
 * One or several sessions of one artifact as one. A run goes to the living one with the fewest runs under way. One that
 * dies is opened again, with a growing wait, while the others serve; the last one at once, or not at all.
 */
export class Instances implements Session {
  readonly placement: Place
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
  /** Ends the wait of a close for an instance that is being opened. */
  #cutOff: () => void = () => {}

  private constructor(
    first: Session,
    sessions: readonly Session[],
    open: () => Promise<Session>,
    options: InstancesOptions,
  ) {
    this.placement = first.placement
    this.width = first.width
    this.instances = sessions.length
    this.#artifact = first
    this.#open = open
    this.#options = options
    this.died = new Promise((resolve) => (this.#die = resolve))
    this.#instances = sessions.map((session) => {
      const retry = new Retry(options.clock, () => this.#openAgain(instance))
      const instance: Instance = { session: undefined, running: 0, retry, opening: undefined }
      this.#put(instance, session)
      return instance
    })
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
    for (;;) {
      if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the session is closed')
      const instance = this.#leastBusy()
      if (instance === undefined) {
        await this.#restart()
        continue
      }
      const { session } = instance
      instance.running++
      try {
        return await session.run(feeds)
      } catch (error) {
        if (!(error instanceof NotBegun) || !error.hasFeeds) throw error
        // Another session can have it, once the death of this one is known here.
        await session.died
      } finally {
        instance.running--
      }
    }
  }

  #leastBusy(): Alive | undefined {
    let least: Alive | undefined
    for (const instance of this.#instances) {
      if (isAlive(instance) && (least === undefined || instance.running < least.running)) least = instance
    }
    return least
  }

  /** Waits for an instance that is being opened. @throws NotBegun where there is none */
  async #restart(): Promise<void> {
    const opening = this.#instances.find((instance) => instance.opening !== undefined)?.opening
    if (opening === undefined) throw new NotBegun(this.#death?.message ?? 'no instance lives', true)
    await opening
  }

  close(isCutOff = false): Promise<void> {
    const closing = (this.#closing ??= this.#close())
    if (isCutOff) {
      this.#cutOff()
      for (const { session } of this.#instances) session?.close(true).catch(() => {}) // the failure of the first call
    }
    return closing
  }

  async #close(): Promise<void> {
    this.#cancelRetries()
    const cutOff = new Promise<void>((resolve) => (this.#cutOff = resolve))
    await Promise.all(
      this.#instances.map(async (instance) => {
        // One that is opened even after that is closed as soon as it is there.
        await Promise.race([instance.opening, cutOff])
        await instance.session?.close()
      }),
    )
  }

  #put(instance: Instance, session: Session): void {
    instance.session = session
    void session.died.then((reason) => {
      instance.session = undefined
      this.#lost(instance, reason)
    })
  }

  #lost(instance: Instance, reason: ServingError): void {
    if (this.#closing !== undefined) return
    const { onInstanceDied, mayRestart } = this.#options
    if (this.#instances.some(isAlive)) {
      onInstanceDied?.(reason)
      instance.retry.failed(true)
    } else if (mayRestart?.(reason) === true) {
      onInstanceDied?.(reason)
      this.#openAgain(instance)
    } else this.#end(reason)
  }

  #openAgain(instance: Instance): void {
    instance.opening ??= this.#reopen(instance).finally(() => (instance.opening = undefined))
  }

  async #reopen(instance: Instance): Promise<void> {
    let session: Session
    try {
      session = await this.#open()
    } catch (error) {
      if (this.#isOver) return
      // The next attempt may fare better, as long as others serve.
      if (this.#instances.some(isAlive)) instance.retry.failed(true)
      else if (!this.#instances.some((other) => other !== instance && other.opening !== undefined))
        this.#end(asServingError(error))
      return
    }
    if (this.#isOver) return session.close()
    instance.retry.succeeded()
    this.#put(instance, session)
    this.#options.onInstanceOpened?.()
  }

  #end(reason: ServingError): void {
    this.#death = reason
    this.#cancelRetries()
    this.#die(reason)
  }

  get #isOver(): boolean {
    return this.#closing !== undefined || this.#death !== undefined
  }

  #cancelRetries(): void {
    for (const { retry } of this.#instances) retry.cancel()
  }
}

type Alive = Instance & { session: Session }

function isAlive(instance: Instance): instance is Alive {
  return instance.session !== undefined
}
