import type { ErrorCode } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import type { Artifact, LoadedArtifact, RunResult } from './session.js'

/** What a worker is asked, be it a thread or a process. A worker holds one session or several, each with a key. */
export type ToWorker =
  | {
      readonly type: 'open'
      readonly session: number
      readonly artifact: Artifact
      /** Where onnxruntime-node is: the same for every session of a worker. */
      readonly runtimePath: string
    }
  | { readonly type: 'run'; readonly session: number; readonly id: number; readonly feeds: Feeds }
  /** To a process, which can't take permits itself: a run that it has may begin. */
  | { readonly type: 'permit'; readonly id: number }
  | { readonly type: 'close'; readonly session: number }

export type FromWorker =
  | { readonly type: 'opened'; readonly session: number; readonly loaded: LoadedArtifact }
  | {
      readonly type: 'refused'
      readonly session: number
      readonly code: ErrorCode
      readonly message: string
    }
  /** From a thread, which takes its permits itself, where somebody watches: a run computes from now on. */
  | { readonly type: 'began'; readonly session: number; readonly id: number }
  | { readonly type: 'result'; readonly session: number; readonly id: number; readonly result: RunResult }
  | {
      readonly type: 'failed'
      readonly session: number
      readonly id: number
      readonly code: ErrorCode
      readonly message: string
    }
  | { readonly type: 'closed'; readonly session: number }
