import { ServingError } from '../errors.js'
import type { ModelSignature, RunResult, Session } from '../execution/session.js'
import type { SessionState } from '../models/loaded-model.js'
import {
  describe,
  elementCount,
  emptyRecord,
  type Feeds,
  type Tensor,
  type TensorInfo,
} from '../tensor/tensor.js'
import { fits } from '../tensor/copy.js'
import type { Failover } from './failover.js'

/** What a session runs, and how. */
export interface RemoteRuns {
  readonly model: string
  readonly version: string | undefined
  /** Runs under way at once. */
  readonly concurrency: number
  /** How long an attempt may take. */
  readonly attemptTimeoutMs: number
}

/** A model on another server as what runs batches. It computes nothing here, and takes no permit. */
export class RemoteSession implements SessionState, Pick<Session, 'slots' | 'mayHang' | 'run' | 'close'> {
  readonly placement = 'remote'
  readonly width = 0
  readonly mayHang = true
  readonly providers = []
  readonly inspection = undefined
  readonly slots: number
  readonly #label: string
  readonly #failover: Failover
  readonly #runs: RemoteRuns
  /** Ends each of the runs under way. */
  readonly #running = new Set<() => void>()
  #idle: (() => void) | undefined
  #closing: Promise<void> | undefined

  /** @param label `model@version`, for messages */
  constructor(
    label: string,
    readonly signature: ModelSignature,
    failover: Failover,
    runs: RemoteRuns,
  ) {
    this.#label = label
    this.#failover = failover
    this.#runs = runs
    this.slots = runs.concurrency
  }

  /** @throws ServingError as {@link Failover.call} */
  async run(inputs: Feeds, context?: { readonly signal: AbortSignal }): Promise<RunResult> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', `${this.#label} is closed`)
    const { model, version, attemptTimeoutMs } = this.#runs
    // Not AbortSignal.any, which keeps something of each run as long as the session lives.
    const abort = new AbortController()
    const { signal } = abort
    const end = () => abort.abort()
    context?.signal.addEventListener('abort', end)
    if (context?.signal.aborted === true) end()
    const started = performance.now()
    this.#running.add(end)
    try {
      const { outputs } = await this.#failover.call(signal, (server) =>
        server.infer(model, { inputs, version }, { signal, timeoutMs: attemptTimeoutMs }),
      )
      return { outputs: this.#checked(outputs), computeMs: performance.now() - started }
    } finally {
      context?.signal.removeEventListener('abort', end)
      this.#running.delete(end)
      if (this.#running.size === 0) this.#idle?.()
    }
  }

  /** The outputs that the signature has. @throws ServingError INFERENCE_FAILED where one is not as it says */
  #checked(outputs: Feeds): Feeds {
    const known = emptyRecord<Tensor>(false)
    for (const info of this.signature.outputs) {
      const tensor = outputs[info.name]
      if (tensor === undefined || !isOf(tensor, info)) {
        const got = tensor === undefined ? 'nothing' : describe(tensor)
        throw new ServingError(
          'INFERENCE_FAILED',
          `${this.#label}: output "${info.name}" should be ${describe(info)}; the remote server gave ${got}.`,
        )
      }
      known[info.name] = { dtype: tensor.dtype, shape: tensor.shape, data: tensor.data } as Tensor
    }
    return known
  }

  /**
   * Waits for the runs under way. A second call joins the first, and may cut it off.
   * @param isCutOff whether to end them
   */
  close(isCutOff = false): Promise<void> {
    if (isCutOff) for (const end of this.#running) end()
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#running.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
  }
}

function isOf({ dtype, shape, data }: Tensor, info: TensorInfo): boolean {
  return dtype === info.dtype && fits(shape, info.shape) && data.length === elementCount(shape)
}
