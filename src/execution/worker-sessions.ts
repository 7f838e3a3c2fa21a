import { asServingError } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { loadRuntime, OnnxSession } from './onnx.js'
import type { Artifact } from './session.js'
import type { FromWorker, ToWorker } from './worker-messages.js'

/** What differs between a thread and a process. */
export interface Surroundings {
  /** @param transfer buffers that may be moved rather than copied */
  send(message: FromWorker, transfer?: readonly ArrayBuffer[]): void
  /** Makes a native call, within which this worker must not be stopped. */
  native<T>(call: () => Promise<T>): Promise<T>
  /** Computes once there is a permit for each of `width` threads. @param id the run's */
  permitted<T>(id: number, width: number, compute: () => Promise<T>): Promise<T>
}

interface Opened {
  readonly onnx: OnnxSession
  readonly artifact: Artifact
}

/** The worker's side: its sessions by key, and their native calls, one after another. */
export class WorkerSessions {
  readonly #opened = new Map<number, Opened>()
  #turn: Promise<void> = Promise.resolve()

  constructor(private readonly surroundings: Surroundings) {}

  receive(message: Exclude<ToWorker, { type: 'permit' }>): void {
    this.#turn = this.#turn.then(() => this.#do(message))
  }

  #do(message: Exclude<ToWorker, { type: 'permit' }>): Promise<void> {
    switch (message.type) {
      case 'open':
        return this.#open(message.session, message.artifact, message.runtimePath)
      case 'run':
        return this.#run(message.session, message.id, message.feeds)
      case 'close':
        return this.#close(message.session)
    }
  }

  async #open(session: number, artifact: Artifact, runtimePath: string): Promise<void> {
    const worker = this.surroundings
    try {
      const onnx = await worker.native(() => OnnxSession.create(loadRuntime(runtimePath), artifact))
      this.#opened.set(session, { onnx, artifact })
      const { signature, providers, warnings, inspection } = onnx
      worker.send({ type: 'opened', session, loaded: { signature, providers, warnings, inspection } })
    } catch (error) {
      const { code, message } = asServingError(error)
      worker.send({ type: 'refused', session, code, message })
    }
  }

  async #run(session: number, id: number, feeds: Feeds): Promise<void> {
    const worker = this.surroundings
    try {
      const { onnx, artifact } = this.#session(session)
      const result = await worker.permitted(id, artifact.intraOpThreads, () => {
        if (artifact.runTimeoutMs !== undefined) worker.send({ type: 'began', session, id })
        return worker.native(() => onnx.run(feeds))
      })
      worker.send({ type: 'result', session, id, result }, buffersOf(result.outputs))
    } catch (error) {
      const { code, message } = asServingError(error)
      worker.send({ type: 'failed', session, id, code, message })
    }
  }

  async #close(session: number): Promise<void> {
    const worker = this.surroundings
    const opened = this.#opened.get(session)
    this.#opened.delete(session)
    if (opened !== undefined) await worker.native(() => opened.onnx.release())
    worker.send({ type: 'closed', session })
  }

  #session(session: number): Opened {
    const opened = this.#opened.get(session)
    if (opened === undefined) throw new Error('the session was not created')
    return opened
  }
}

/** The outputs' buffers, each once, to be moved rather than copied. */
function buffersOf(outputs: Feeds): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { data } of Object.values(outputs)) {
    if (ArrayBuffer.isView(data) && data.byteLength > 0) buffers.add(data.buffer as ArrayBuffer)
  }
  return [...buffers]
}
