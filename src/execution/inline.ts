import type { ServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { loadRuntime, OnnxSession } from './onnx.js'
import { findRuntime } from './runtime.js'
import type { Artifact, RunResult, Session } from './session.js'

/**
 * A session on the calling thread: no hop to a worker, and so the least cost for a model of a few
 * microseconds; but creation and each run hold up the event loop for as long as they take.
 */
export class InlineSession implements Session {
  readonly slots = 1
  readonly died = new Promise<ServingError>(() => {})
  readonly #onnx: OnnxSession
  #closed: Promise<void> | undefined
  #running: Promise<unknown> = Promise.resolve()

  private constructor(onnx: OnnxSession) {
    this.#onnx = onnx
  }

  /** @throws ServingError RUNTIME_MISSING, INVALID_MODEL */
  static async create(artifact: Artifact): Promise<InlineSession> {
    return new InlineSession(await OnnxSession.create(loadRuntime(findRuntime()), artifact))
  }

  get signature() {
    return this.#onnx.signature
  }

  run(feeds: Feeds): Promise<RunResult> {
    const run = this.#onnx.run(feeds)
    this.#running = run.catch(() => {})
    return run
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#running.then(() => this.#onnx.release()))
  }
}
