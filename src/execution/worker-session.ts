import { types } from 'node:util'
import { asServingError, ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import {
  NotBegun,
  replacedSoon,
  type Artifact,
  type LoadedArtifact,
  type RunResult,
  type Session,
} from './session.js'
import type { WorkerHost } from './worker-host.js'
import type { FromWorker } from './worker-messages.js'

interface PendingRun {
  readonly resolve: (result: RunResult) => void
  readonly reject: (error: ServingError) => void
  /** Whether it computes, as far as is known. */
  begun: boolean
  watchdog: NodeJS.Timeout | undefined
}

/** A session in a worker: creation and runs leave the event loop free. */
export class WorkerSession implements Session {
  /** One batch computing, one waiting at the worker, which hides the hop to it. */
  readonly slots = 2
  readonly width: number
  readonly died: Promise<ServingError>
  readonly #host: WorkerHost
  readonly #key: number
  readonly #artifact: Artifact
  readonly #pending = new Map<number, PendingRun>()
  #loading: { resolve: (loaded: LoadedArtifact) => void; reject: (error: ServingError) => void } | undefined
  #loaded: LoadedArtifact | undefined
  #closing: Promise<void> | undefined
  #closed: (() => void) | undefined
  #die: (error: ServingError) => void = () => {}

  /** @param key what the worker knows it by */
  constructor(host: WorkerHost, key: number, artifact: Artifact) {
    this.#host = host
    this.#key = key
    this.#artifact = artifact
    this.width = artifact.intraOpThreads
    this.died = new Promise((resolve) => (this.#die = resolve))
  }

  get placement() {
    return this.#host.placement
  }

  get signature() {
    return this.#known.signature
  }

  get providers() {
    return this.#known.providers
  }

  get warnings() {
    return this.#known.warnings
  }

  get inspection() {
    return this.#known.inspection
  }

  get #known(): LoadedArtifact {
    if (this.#loaded === undefined) throw new ServingError('INTERNAL', 'the session was not created')
    return this.#loaded
  }

  /** To be called once. @throws ServingError INVALID_MODEL, RUNTIME_MISSING, WORKER_DIED */
  async load(runtimePath: string): Promise<void> {
    this.#loaded = await new Promise<LoadedArtifact>((resolve, reject) => {
      this.#loading = { resolve, reject }
      this.#host.ask({ type: 'open', session: this.#key, artifact: this.#artifact, runtimePath })
    })
  }

  run(feeds: Feeds): Promise<RunResult> {
    if (this.#closing !== undefined)
      return Promise.reject(new ServingError('CLOSED', 'the session is closed'))
    const { death } = this.#host
    if (death !== undefined) return Promise.reject(new NotBegun(death.message, true))
    const id = this.#host.nextRun()
    const answer = new Promise<RunResult>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, begun: false, watchdog: undefined })
    })
    try {
      this.#host.ask({ type: 'run', session: this.#key, id, feeds }, buffersOf(feeds))
    } catch (error) {
      this.#take(id)?.reject(asServingError(error, 'INFERENCE_FAILED', 'the feeds could not be sent'))
      return answer
    }
    const over = answer.then(noop, noop)
    this.#host.handed({ id, width: this.width, over, begin: () => this.#begin(id) })
    return answer
  }

  close(isCutOff = false): Promise<void> {
    const closing = (this.#closing ??= this.#close())
    if (isCutOff && this.#host.death === undefined) this.#host.cutOff()
    return closing
  }

  async #close(): Promise<void> {
    if (this.#host.death === undefined) {
      await new Promise<void>((resolve) => {
        this.#closed = resolve
        this.#host.ask({ type: 'close', session: this.#key })
      })
    }
    await this.#host.closed(this.#key)
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case 'opened':
        this.#host.answered()
        this.#loading?.resolve(message.loaded)
        return
      case 'refused':
        this.#host.answered()
        this.#loading?.reject(new ServingError(message.code, message.message))
        return
      case 'began':
        this.#begin(message.id)
        return
      case 'result':
        this.#answered(message.id)?.resolve(message.result)
        return
      case 'failed':
        this.#answered(message.id)?.reject(new ServingError(message.code, message.message))
        return
      case 'closed':
        this.#host.answered()
        this.#closed?.()
        return
    }
  }

  /** The run that was handed over before the others and is not answered. */
  get oldestRun(): number | undefined {
    for (const id of this.#pending.keys()) return id
    return undefined
  }

  /**
   * The worker will answer nothing more.
   * @param computing the run that a worker was computing which does not wait for leave
   */
  lost(death: ServingError, computing: number | undefined): void {
    this.#loading?.reject(death)
    for (const id of [...this.#pending.keys()]) {
      const run = this.#take(id)
      const hasBegun = run?.begun === true || id === computing
      // Of one that is being closed there is no other to give its feeds to.
      const hasFeeds = this.#host.copiesFeeds && this.#closing === undefined
      run?.reject(hasBegun ? death : new NotBegun(death.message, hasFeeds))
    }
    this.#closed?.()
    if (this.#closing === undefined) this.#die(death)
  }

  #begin(id: number): boolean {
    const run = this.#pending.get(id)
    if (run === undefined) return false
    if (run.begun) return true // the parent of a process knows before it is told
    run.begun = true
    const { runTimeoutMs } = this.#artifact
    if (runTimeoutMs !== undefined) {
      // An answer that came while this thread was busy is heard before the run is given up.
      run.watchdog = setTimeout(() => setImmediate(() => this.#giveUp(id, runTimeoutMs)), runTimeoutMs)
    }
    return true
  }

  #giveUp(id: number, runTimeoutMs: number): void {
    const run = this.#pending.get(id)
    if (run === undefined) return
    const reason = `the run took longer than ${runTimeoutMs} ms (runTimeoutMs)`
    run.reject(new ServingError('RUN_TIMEOUT', reason, replacedSoon))
    this.#host.giveUp(runTimeoutMs)
  }

  #answered(id: number): PendingRun | undefined {
    this.#host.answered()
    return this.#take(id)
  }

  #take(id: number): PendingRun | undefined {
    const run = this.#pending.get(id)
    this.#pending.delete(id)
    clearTimeout(run?.watchdog)
    return run
  }
}

function noop(): void {}

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
