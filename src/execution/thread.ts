import { types } from 'node:util'
import type { Worker } from 'node:worker_threads'
import { asServingError, messageOf, ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { guardExit, unguardExit } from './exit-guard.js'
import { Handshake } from './handshake.js'
import { type Permits, sharedPermits } from './permits.js'
import { findRuntime } from './runtime.js'
import type { Artifact, LoadedArtifact, RunResult, Session } from './session.js'
import type { FromWorker, ThreadSetup, ToWorker } from './thread-worker.js'
import workerSource from './thread-worker.js?source'
import { workerThreads } from './worker-threads.js'

interface PendingRun {
  readonly resolve: (result: RunResult) => void
  readonly reject: (error: ServingError) => void
}

/**
 * A session in a worker thread of its own: creation and runs leave the event loop free, loading one model
 * never stalls another, and closing it frees everything.
 *
 * The worker is started from a string, so that a bundle of any format finds it. It keeps the process alive
 * only while something is asked of it.
 */
export class ThreadSession implements Session {
  /** One batch computing, one waiting at the worker, which hides the hop between the threads. */
  readonly slots = 2
  readonly placement = 'thread'
  readonly width: number
  readonly died: Promise<ServingError>
  readonly #worker: Worker
  readonly #threadId: number
  readonly #handshake: Handshake
  readonly #permits: Permits
  readonly #pending = new Map<number, PendingRun>()
  #created: { resolve: (loaded: LoadedArtifact) => void; reject: (error: ServingError) => void } | undefined
  #loaded: LoadedArtifact | undefined
  #closing: Promise<void> | undefined
  #closed: (() => void) | undefined
  #death: ServingError | undefined
  #die: (error: ServingError) => void = () => {}
  #nextId = 0

  private constructor(worker: Worker, handshake: Handshake, permits: Permits, width: number) {
    this.#worker = worker
    this.#threadId = worker.threadId // the worker forgets it at its end
    this.#handshake = handshake
    this.#permits = permits
    this.width = width
    this.died = new Promise((resolve) => (this.#die = resolve))
    worker.on('message', (message: FromWorker) => this.#receive(message))
    worker.on('error', (error) => this.#ended(`the worker thread failed: ${messageOf(error)}`))
    worker.on('exit', (code) => this.#ended(`the worker thread ended with code ${code}`))
  }

  /**
   * Starts a worker and loads the artifact in it.
   * @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED
   */
  static async create(artifact: Artifact): Promise<ThreadSession> {
    const runtimePath = findRuntime()
    const { Worker } = workerThreads()
    const handshake = new Handshake()
    const permits = sharedPermits()
    const setup: ThreadSetup = { runtimePath, artifact, handshake: handshake.shared, permits: permits.shared }
    // Not the host's own Node options: with --input-type=module the source would be taken for an ES module.
    const worker = new Worker(workerSource, {
      eval: true,
      execArgv: [],
      workerData: setup,
      name: 'mlserving',
    })
    guardExit(handshake)
    const session = new ThreadSession(worker, handshake, permits, artifact.intraOpThreads)
    try {
      session.#loaded = await new Promise<LoadedArtifact>((resolve, reject) => {
        session.#created = { resolve, reject }
      })
    } catch (error) {
      await session.close()
      throw error
    }
    session.#restWhenIdle()
    return session
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

  get #artifact(): LoadedArtifact {
    if (this.#loaded === undefined) throw new ServingError('INTERNAL', 'the session was not created')
    return this.#loaded
  }

  run(feeds: Feeds): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      const refusal = (this.#closing && new ServingError('CLOSED', 'the session is closed')) ?? this.#death
      if (refusal !== undefined) return reject(refusal)
      const id = this.#nextId++
      this.#pending.set(id, { resolve, reject })
      try {
        this.#send({ type: 'run', id, feeds }, buffersOf(feeds))
      } catch (error) {
        this.#take(id)?.reject(asServingError(error, 'INFERENCE_FAILED', 'the feeds could not be sent'))
      }
    })
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#death === undefined) {
      await new Promise<void>((resolve) => {
        this.#closed = resolve
        this.#send({ type: 'close' })
      })
    }
    // The worker has said that it is past its last native call: from here on it can be stopped safely.
    await this.#worker.terminate()
  }

  #send(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.ref()
    try {
      this.#worker.postMessage(message, transfer)
    } catch {
      this.#worker.postMessage(message) // copies: some buffers can't be moved, such as the pool of Node's Buffer
    }
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'created':
        this.#created?.resolve(message.loaded)
        return
      case 'refused':
        this.#created?.reject(new ServingError(message.code, message.message))
        return
      case 'result':
        this.#take(message.id)?.resolve(message.result)
        return
      case 'failed':
        this.#take(message.id)?.reject(new ServingError(message.code, message.message))
        return
      case 'closed':
        this.#closed?.()
        return
    }
  }

  #take(id: number): PendingRun | undefined {
    const run = this.#pending.get(id)
    this.#pending.delete(id)
    this.#restWhenIdle()
    return run
  }

  #restWhenIdle(): void {
    if (this.#pending.size === 0 && this.#closing === undefined) this.#worker.unref()
  }

  #ended(reason: string): void {
    if (this.#death !== undefined) return
    const death = (this.#death = new ServingError('WORKER_DIED', reason))
    unguardExit(this.#handshake)
    this.#permits.endTurn(this.#threadId)
    this.#permits.release(this.#handshake.held)
    this.#created?.reject(death)
    for (const run of this.#pending.values()) run.reject(death)
    this.#pending.clear()
    this.#closed?.()
    if (this.#closing === undefined) this.#die(death)
  }
}

/**
 * The feeds' buffers, each once; the session owns them, so they are moved rather than copied. Not those of no
 * bytes: one may have been moved away before, and Node 20 would lose a message that moves it again.
 */
function buffersOf(feeds: Feeds): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { data } of Object.values(feeds)) {
    if (!ArrayBuffer.isView(data) || !types.isArrayBuffer(data.buffer)) continue
    if (data.buffer.byteLength > 0) buffers.add(data.buffer)
  }
  return [...buffers]
}
