import type { Batchable, Executor } from '../batching/executor.js'
import type { ServingError } from '../errors.js'
import type { LearnedLayout } from '../execution/layout.js'
import type { ItemChannel } from '../execution/item-channel.js'
import type { AnyPlace, Session } from '../execution/session.js'
import type { BatchProof } from './batch-safety.js'
import type { Outcome } from './classification.js'
import type { Awaitable } from './codec.js'
import type { PipelineRuns } from './pipeline-runs.js'
import type { TensorInterface } from './tensor-interface.js'

/** An input on its way through the model, in the form that the model runs. */
export interface Encoded {
  readonly feeds: unknown
}

/** A result that is kept: it shares nothing with what it was made from. */
export interface Kept {
  readonly value: unknown
  readonly bytes: number
}

/** How a caller's input becomes what a model runs, and a result the caller's answer. */
export interface RequestCodec {
  /** Whether plain values become 64-bit integers here, with no code of the user's between. */
  readonly takesExactIntegers: boolean
  /** Whether tensors by name are an input as they are, with no code of the user's before them. */
  readonly takesTensors: boolean
  /** @throws ServingError INVALID_INPUT, INVALID_CODEC */
  encode(value: unknown, signal?: AbortSignal): Awaitable<Encoded>
  /**
   * What the batcher takes, and owns from then on. Called before anything else can run once the input is encoded:
   * what the caller changes later changes nothing.
   */
  own(encoded: Encoded): unknown
  /**
   * @param isShared whether others are given the same result
   * @throws ServingError INVALID_CODEC
   */
  decode(result: unknown, encoded: Encoded, isShared: boolean): Awaitable<Outcome>
  /** Equal for equal inputs, and for no others. @throws ServingError INVALID_CODEC where an input has no key */
  key(encoded: Encoded): string
  keep(result: unknown): Kept
}

/** What a version serves with once it is loaded: a session and its codec, or the user's own code. */
export type LoadedModel = BatchedModel | PipelineModel

/** A model that is queued, and where it is declared batched. */
export interface BatchedModel extends ModelLife {
  readonly executor: Executor<unknown, unknown>
  readonly batchable: Batchable<unknown, unknown>
  /** Whether requests may share a run. */
  readonly batchSafety: BatchProof
  /** What the batcher takes for an answer item by item; undefined where there are none. */
  readonly streamed?: ((encoded: Encoded, items: ItemChannel) => unknown) | undefined
  readonly pipeline?: undefined
}

/** A model of other models, which are queued themselves. */
interface PipelineModel extends ModelLife {
  readonly pipeline: PipelineRuns
  readonly batchSafety?: undefined
  readonly streamed?: undefined
}

/** What is known of a session while it serves. */
export interface SessionState extends Pick<
  Session,
  'signature' | 'instances' | 'width' | 'providers' | 'inspection' | 'learned'
> {
  readonly placement: AnyPlace
}

interface ModelLife {
  readonly codec: RequestCodec
  /** For those who ask in tensors; undefined of code, which takes what it says. */
  readonly tensors?: RequestCodec | undefined
  /** What those who ask in tensors are told; undefined of code. */
  readonly tensorInterface?: TensorInterface | undefined
  /** What runs the artifact; undefined for a model of code alone. */
  readonly session?: SessionState
  /** Settles with the reason once it can run nothing more; stays pending after a plain close. */
  readonly died: Promise<ServingError>
  /**
   * Waits for what was handed over, then gives everything back. A second call joins the first, and may cut it off.
   * @param isCutOff whether to wait only for what can't be left behind: code of the runtime's in this process
   */
  close(isCutOff?: boolean): Promise<void>
}

/** Who is told what happens to a version while it is loaded. */
export interface LoadObserver {
  /** Something that the operator should know, such as a provider that is missing. */
  warn(message: string): void
  /** A session ended by itself, and is opened again. */
  instanceDied(reason: ServingError): void
  /** Where artifacts were found to serve best, by their SHA-256. */
  learnedLayouts(): ReadonlyMap<string, LearnedLayout>
  /** The session moved to another layout, or stays in the one it tried. */
  moved(message: string): void
  /** The last session, or the only one, has ended by itself. @returns whether it is opened again at once */
  mayRestart(reason: ServingError): boolean
  /** A session that had ended serves again. */
  instanceOpened(): void
  /** Has a listener called once no load is waited for any more, at once where that is so. @returns forgets it */
  onCutOff(listener: () => void): () => void
}
