import { ServingError } from '../errors.js'
import type { Feeds, TensorInfo } from '../tensor/tensor.js'
import type { Inspection } from './inspection.js'
import type { LearnedLayout } from './layout.js'
import type { Provider, ProviderName } from './providers.js'
import type { SessionOptions } from './session-options.js'

/** What a loaded artifact takes and gives, as its own metadata says. */
export interface ModelSignature {
  readonly inputs: readonly TensorInfo[]
  readonly outputs: readonly TensorInfo[]
  /** Class names that the artifact itself carries (scikit-learn's ZipMap), by output name. */
  readonly classes: Readonly<Record<string, readonly string[]>>
}

export interface RunResult {
  readonly outputs: Feeds
  /** Time in the runtime, without any wait before it unless `isRough`. */
  readonly computeMs: number
  /** The time may hold what the event loop did before the run. */
  readonly isRough?: boolean
}

/** What an artifact turned out to be once it was loaded. */
export interface LoadedArtifact {
  readonly signature: ModelSignature
  /** The execution providers it runs with, of those that were asked for. */
  readonly providers: readonly ProviderName[]
  /** What the operator should know, such as a provider that is missing; whole sentences. */
  readonly warnings: readonly string[]
  /** Where it was asked for. */
  readonly inspection: Inspection | undefined
}

/** Where a session runs: in a worker thread, in a child process, or on the thread that asks. */
export type Place = 'thread' | 'process' | 'inline'

/** The same, or on another server. */
export type AnyPlace = Place | 'remote'

/** Of the errors of a worker that ended: another takes its place at once. */
export const replacedSoon = { headers: { 'retry-after': '1' } } as const

/** A session that ended before it came to a run, which is no fault of that run's. */
export class NotBegun extends ServingError<'WORKER_DIED'> {
  constructor(
    message: string,
    /** Whether the feeds are still there, so that another session may be given them. */
    readonly hasFeeds: boolean,
  ) {
    super('WORKER_DIED', message, replacedSoon)
  }
}

/** A loaded artifact that can run a batch, wherever it is placed. */
export interface Session extends LoadedArtifact {
  /** How many runs may be handed over at once; those beyond the first wait where the session is. May change. */
  readonly slots: number
  /** Where it runs now. */
  readonly placement: Place
  /** How many permits one run takes. */
  readonly width: number
  /** Whether a run may take any time, and can be left behind. Default: false, a run ends by itself. */
  readonly mayHang?: boolean
  /** Sessions beside each other that it is made of. Default: 1. */
  readonly instances?: number
  /** What a later session of the artifact may begin with, where anything was learnt. */
  readonly learned?: LearnedLayout | undefined
  /** Settles with the reason once the session can run nothing more; stays pending after a plain close. */
  readonly died: Promise<ServingError>
  /**
   * Runs one batch. The session takes ownership of the feeds' arrays and may detach them.
   * @param context its `signal` aborts once nobody waits for the outputs any more; what can't be ended runs on
   * @throws ServingError INFERENCE_FAILED, RUN_TIMEOUT, or WORKER_DIED
   */
  run(feeds: Feeds, context?: { readonly signal: AbortSignal }): Promise<RunResult>
  /**
   * Waits for runs that were handed over, then gives everything back. A second call joins the first, and may cut it off.
   * @param isCutOff whether to wait only for runs that can't be ended: a process is killed
   */
  close(isCutOff?: boolean): Promise<void>
}

/** Has a listener called once nobody waits any more, at once where that is so already. @returns forgets the listener */
export type OnCutOff = (listener: () => void) => () => void

/** What to load, and how. */
export interface Artifact {
  /** Absolute path of the `.onnx` file. */
  readonly path: string
  /** Threads one run may use; each takes a permit while it runs. */
  readonly intraOpThreads: number
  readonly session?: SessionOptions | undefined
  /** The execution providers to use, the first that can be had before the others. Default: the CPU. */
  readonly providers?: readonly Provider[] | undefined
  /** Whether the file is inspected as well. Default: false. */
  readonly inspect?: boolean | undefined
  /** How long a run may compute before it is given up. Default: as long as it takes. */
  readonly runTimeoutMs?: number | undefined
}
