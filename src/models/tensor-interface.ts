import type { TensorInfo } from '../tensor/tensor.js'

/** What those who ask a version in tensors are told of it. */
export interface TensorInterface {
  readonly inputs: readonly TensorInfo[]
  readonly outputs: readonly TensorInfo[]
  /** Whether the first dimension of every input is that of the rows. */
  readonly hasRows: boolean
  /** The rows of one run at most; 0 where there are none. */
  readonly maxBatchSize: number
  /** The names of the classes that an output has the scores of, by output: of the model's task, or the artifact's own. */
  readonly classes: Readonly<Record<string, readonly string[]>>
}
