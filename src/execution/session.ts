import type { ServingError } from '../errors.js'
import type { Feeds, TensorInfo } from '../tensor/tensor.js'

/** What a loaded artifact takes and gives, as its own metadata says. */
export interface ModelSignature {
  readonly inputs: readonly TensorInfo[]
  readonly outputs: readonly TensorInfo[]
  /** Class names that the artifact itself carries (scikit-learn's ZipMap), by output name. */
  readonly classes: Readonly<Record<string, readonly string[]>>
}

export interface RunResult {
  readonly outputs: Feeds
  /** Time in the runtime, without any wait before it. */
  readonly computeMs: number
}

/** A loaded artifact that can run a batch, wherever it is placed. */
export interface Session {
  readonly signature: ModelSignature
  /** How many runs may be handed over at once; those beyond the first wait where the session is. */
  readonly slots: number
  /** Permits that one run takes: one for each of its threads; 0 inline. */
  readonly width: number
  /** Settles with the reason once the session can run nothing more; stays pending after a plain close. */
  readonly died: Promise<ServingError>
  /**
   * Runs one batch. The session takes ownership of the feeds' arrays and may detach them.
   * @throws ServingError INFERENCE_FAILED, or WORKER_DIED
   */
  run(feeds: Feeds): Promise<RunResult>
  /** Waits for runs that were handed over, then gives everything back. A second call joins the first. */
  close(): Promise<void>
}

/** What to load, and how. */
export interface Artifact {
  /** Absolute path of the `.onnx` file. */
  readonly path: string
  /** Threads one run may use; each takes a permit while it runs. */
  readonly intraOpThreads: number
}
