import { spawn, type ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { messageOf } from '../errors.js'
import { type Permits, sharedPermits } from './permits.js'
import workerSource from './process-worker.js?source'
import { findRuntime } from './runtime.js'
import type { Artifact, OnCutOff, Session } from './session.js'
import { WorkerHost, type HandedRun } from './worker-host.js'
import type { FromWorker, ToWorker } from './worker-messages.js'

/**
 * Loads an artifact in a child process of its own: what ends that process, be it a crash of the runtime's, a lack of
 * memory or a run that never returns, costs the runs that it computed and nothing else; and all its memory goes with it.
 * @param onCutOff has the process killed while it loads. Default: it is waited for.
 * @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED
 */
export async function openInProcess(artifact: Artifact, onCutOff?: OnCutOff): Promise<Session> {
  const runtimePath = findRuntime()
  return new ProcessHost().open(artifact, runtimePath, onCutOff)
}

/**
 * A child process. Its source goes in by stdin, so that a bundle of any format finds it.
 *
 * It can't share the counter of permits: they are taken here for each of its runs, when that is the next one.
 */
class ProcessHost extends WorkerHost {
  readonly placement = 'process'
  readonly copiesFeeds = true
  readonly asksForPermits = true
  readonly #child: ChildProcess
  readonly #permits: Permits = sharedPermits()
  readonly #gone: Promise<void>
  /** The run before, at whose end the next may ask for permits. */
  #turn: Promise<void> = Promise.resolve()

  constructor() {
    super()
    this.#child = startWorker()
    this.#gone = new Promise((resolve) => {
      const ended = (reason: string) => {
        resolve()
        this.lost(reason)
      }
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined)
          ended(`the worker process could not be started: ${messageOf(error)}`)
      })
      this.#child.once('exit', (code, signal) => {
        const reason = `the worker process ended with ${signal === null ? `code ${code}` : signal}`
        // What it answered before its end is still on its way.
        if (this.#child.connected) this.#child.once('disconnect', () => ended(reason))
        else ended(reason)
      })
    })
    this.#child.on('message', (message) => this.receive(message as FromWorker))
  }

  protected post(message: ToWorker): void {
    // An error is that the process has ended, which is told of by its own event.
    if (this.#child.connected) this.#child.send(message, () => {})
  }

  protected hold(): void {
    this.#child.ref()
    this.#child.channel?.ref()
  }

  protected rest(): void {
    this.#child.unref()
    this.#child.channel?.unref()
  }

  protected async end(): Promise<void> {
    this.hold()
    this.#child.kill('SIGKILL')
    await this.#gone
  }

  override cutOff(): void {
    this.#child.kill('SIGKILL')
  }

  giveUp(runTimeoutMs: number): void {
    this.#child.kill('SIGKILL')
    this.lost(`a run took longer than ${runTimeoutMs} ms (runTimeoutMs), and its process was killed`)
  }

  override handed(run: HandedRun): void {
    this.#turn = this.#turn.then(() => this.#permit(run))
  }

  /** Lets a run compute, and settles once that is over. */
  async #permit(run: HandedRun): Promise<void> {
    const taken = await this.#permits.take(run.width)
    if (run.begin()) {
      this.post({ type: 'permit', id: run.id })
      await run.over
    }
    this.#permits.release(taken)
  }
}

function startWorker(): ChildProcess {
  const { NODE_OPTIONS: _, ...env } = process.env
  // Not the host's own Node options: an inspector's port is taken, and the source is no ES module.
  const child = spawn(process.execPath, ['--input-type=commonjs', '-'], {
    env,
    // The source, nothing, the host's stderr, the lifeline (`lifeline.ts`), messages.
    stdio: ['pipe', 'ignore', 'inherit', 'pipe', 'ipc'],
    serialization: 'advanced',
    // Signals of a terminal's go to the host alone, which may drain first.
    detached: process.platform !== 'win32',
    windowsHide: true,
  })
  for (const pipe of child.stdio) {
    if (!(pipe instanceof Socket)) continue
    pipe.on('error', () => {}) // that the process has ended, which is told of by its own event
    pipe.unref()
  }
  child.stdin?.end(workerSource)
  return child
}
