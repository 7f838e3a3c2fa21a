import type { Worker } from 'node:worker_threads'
import { messageOf } from '../errors.js'
import { guardExit, unguardExit } from './exit-guard.js'
import { Handshake } from './handshake.js'
import { type Permits, sharedPermits } from './permits.js'
import { findRuntime } from './runtime.js'
import type { Artifact, Session } from './session.js'
import type { ThreadSetup } from './thread-worker.js'
import workerSource from './thread-worker.js?source'
import { WorkerHost } from './worker-host.js'
import type { FromWorker, ToWorker } from './worker-messages.js'
import { workerThreads } from './worker-threads.js'

/** The thread that sessions with `worker: 'shared'` live in. */
let shared: ThreadHost | undefined

/**
 * Loads an artifact in a worker thread: one of its own, so that loading one model never stalls another and closing it
 * frees everything; or the one that all who share one have, which costs less memory, and where they take turns.
 * @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED
 */
export async function openInThread(
  artifact: Artifact,
  { isShared = false }: { readonly isShared?: boolean } = {},
): Promise<Session> {
  const runtimePath = findRuntime()
  if (!isShared) return new ThreadHost().open(artifact, runtimePath)
  if (shared?.isOpen !== true) shared = new ThreadHost()
  return shared.open(artifact, runtimePath)
}

/** A worker thread. It is started from a string, so that a bundle of any format finds its source. */
class ThreadHost extends WorkerHost {
  readonly placement = 'thread'
  readonly copiesFeeds = false
  readonly asksForPermits = false
  readonly #worker: Worker
  readonly #threadId: number
  readonly #handshake = new Handshake()
  readonly #permits: Permits = sharedPermits()
  /** Whether a run in it went on for too long: it is stopped once that ends. */
  #isLeft = false

  constructor() {
    super()
    const { Worker } = workerThreads()
    const setup: ThreadSetup = { handshake: this.#handshake.shared, permits: this.#permits.shared }
    // Not the host's own Node options: with --input-type=module the source would be taken for an ES module.
    this.#worker = new Worker(workerSource, {
      eval: true,
      execArgv: [],
      workerData: setup,
      name: 'mlserving',
    })
    this.#threadId = this.#worker.threadId // the worker forgets it at its end
    guardExit(this.#handshake)
    this.#worker.on('message', (message: FromWorker) => {
      // It is out of native code, which it can't enter any more: from here on it can be stopped safely.
      if (this.#isLeft) void this.#worker.terminate()
      else this.receive(message)
    })
    this.#worker.on('error', (error) => this.#ended(`the worker thread failed: ${messageOf(error)}`))
    this.#worker.on('exit', (code) => this.#ended(`the worker thread ended with code ${code}`))
  }

  protected post(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    try {
      this.#worker.postMessage(message, transfer)
    } catch {
      this.#worker.postMessage(message) // copies: some buffers can't be moved, such as the pool of Node's Buffer
    }
  }

  protected hold(): void {
    this.#worker.ref()
  }

  protected rest(): void {
    this.#worker.unref()
  }

  protected async end(): Promise<void> {
    if (!this.#isLeft) await this.#worker.terminate()
  }

  /**
   * Leaves the thread behind, since native code can't be stopped: it computes on until the run ends by itself, without
   * permits, so that others go on.
   */
  giveUp(runTimeoutMs: number): void {
    this.#isLeft = true
    this.#handshake.stop()
    this.#permits.release(this.#handshake.takeHeld())
    this.rest()
    const run = this.hasSeveral
      ? `a run of one of the models in the shared worker took longer than ${runTimeoutMs} ms (that model's runTimeoutMs)`
      : `a run took longer than ${runTimeoutMs} ms (runTimeoutMs)`
    this.lost(
      `${run}, and goes on computing: a thread can't be stopped ` +
        'inside the runtime, a process can (placement "process")',
    )
  }

  #ended(reason: string): void {
    unguardExit(this.#handshake)
    this.#permits.endTurn(this.#threadId)
    this.#permits.release(this.#handshake.takeHeld())
    this.lost(reason)
  }
}
