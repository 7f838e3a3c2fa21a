import { ServingError } from '../errors.js'
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
  readonly placement = 'inline'
  /** The event loop computes one thing at a time anyway, and must not wait for a permit. */
  readonly width = 0
  readonly died = new Promise<ServingError>(() => {})
  readonly #onnx: OnnxSession
  #running = 0
  #idle: (() => void) | undefined
  #closing: Promise<void> | undefined

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

  get providers() {
    return this.#onnx.providers
  }

  get warnings() {
    return this.#onnx.warnings
  }

  get inspection() {
    return this.#onnx.inspection
  }

  async run(feeds: Feeds): Promise<RunResult> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the session is closed')
    this.#running++
    try {
      return await this.#onnx.run(feeds)
    } finally {
      if (--this.#running === 0) this.#idle?.()
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    // Releasing is immediate: it would fail the runs that are under way.
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await this.#onnx.release()
  }
}
