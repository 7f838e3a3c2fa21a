import { ServingError } from '../errors.js'
import { replacedSoon, type Artifact, type OnCutOff } from './session.js'
import type { FromWorker, ToWorker } from './worker-messages.js'
import { WorkerSession } from './worker-session.js'

/** A run that was handed to a worker. */
export interface HandedRun {
  readonly id: number
  readonly width: number
  /** Settles once the run is answered, or lost; never rejects. */
  readonly over: Promise<void>
  /** Says that it computes from now on. @returns false where it is over already */
  begin(): boolean
}

/**
 * The parent's side of a worker, be it a thread or a process, and of the sessions in it. A worker ends with the last of
 * its sessions, and its death is the death of all of them. It keeps the process alive only while it is asked something.
 */
export abstract class WorkerHost {
  abstract readonly placement: 'thread' | 'process'
  /** Whether feeds are copied on their way, so that those of a run that never began are still here. */
  abstract readonly copiesFeeds: boolean
  /** Whether a run begins only once it is told to. */
  abstract readonly asksForPermits: boolean
  readonly #sessions = new Map<number, WorkerSession>()
  #lastKey = 0
  #lastRun = 0
  /** Questions without an answer. */
  #asked = 0
  #death: ServingError | undefined
  #isEnding = false

  /** Whether another session may be opened here. */
  get isOpen(): boolean {
    return this.#death === undefined && !this.#isEnding
  }

  /** Whether what ends one session ends others. */
  protected get hasSeveral(): boolean {
    return this.#sessions.size > 1
  }

  get death(): ServingError | undefined {
    return this.#death
  }

  /**
   * Loads an artifact in the worker.
   * @param onCutOff has its listener called once nobody waits for the load any more. Default: somebody always does.
   * @throws ServingError INVALID_MODEL, RUNTIME_MISSING, WORKER_DIED
   */
  async open(artifact: Artifact, runtimePath: string, onCutOff?: OnCutOff): Promise<WorkerSession> {
    const session = new WorkerSession(this, ++this.#lastKey, artifact)
    this.#sessions.set(this.#lastKey, session)
    const forget = onCutOff?.(() => this.cutOff())
    try {
      await session.load(runtimePath)
    } catch (error) {
      await session.close()
      throw error
    } finally {
      forget?.()
    }
    return session
  }

  nextRun(): number {
    return ++this.#lastRun
  }

  /** Sends what is to be answered. @throws where it can't be sent */
  ask(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#asked++ === 0) this.hold()
    try {
      this.post(message, transfer)
    } catch (error) {
      this.answered()
      throw error
    }
  }

  answered(): void {
    if (--this.#asked === 0) this.rest()
  }

  /** A session is closed: the worker ends with the last. */
  async closed(key: number): Promise<void> {
    this.#sessions.delete(key)
    if (this.#sessions.size > 0) return
    this.#isEnding = true
    await this.end()
  }

  protected receive(message: FromWorker): void {
    this.#sessions.get(message.session)?.receive(message)
  }

  /** The worker is no more, or is left to itself: whatever it was asked will have no answer. */
  protected lost(reason: string): void {
    if (this.#death !== undefined) return
    this.#death = new ServingError('WORKER_DIED', reason, replacedSoon)
    const sessions = [...this.#sessions.values()]
    // Runs go in the order they were handed over, whatever session they are of.
    const oldest = Math.min(...sessions.map((session) => session.oldestRun ?? Infinity))
    for (const session of sessions) session.lost(this.#death, this.asksForPermits ? undefined : oldest)
  }

  /** Lets a run begin as soon as it may; a worker that takes its permits itself needs no leave. */
  handed(_run: HandedRun): void {}

  /**
   * Nobody waits for the runs or the load of its last session any more: ends the worker, where that can be done
   * meanwhile.
   */
  cutOff(): void {}

  /** A run takes longer than it may: ends the worker, or leaves it behind. */
  abstract giveUp(runTimeoutMs: number): void
  protected abstract post(message: ToWorker, transfer?: readonly ArrayBuffer[]): void
  /** Keeps the process alive. */
  protected abstract hold(): void
  /** Lets the process end. */
  protected abstract rest(): void
  /** Ends the worker, which is past its last native call or dead. */
  protected abstract end(): Promise<void>
}
