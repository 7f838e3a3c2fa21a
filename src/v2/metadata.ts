/** What a server says of itself. */
export interface ServerMetadata {
  readonly name: string
  readonly version: string
  /** Parts of the protocol beyond its core, such as `binary_tensor_data`. */
  readonly extensions: readonly string[]
}

/** What a server says of an input or output. */
export interface TensorMetadata {
  readonly name: string
  /** By the protocol's names, such as `FP32`; servers may have others than the protocol. */
  readonly datatype: string
  /** -1 where a dimension may vary. */
  readonly shape: readonly number[]
}

/** What a server says of a model. */
export interface ModelMetadata {
  readonly name: string
  /** The versions that can answer; empty where the server names none. */
  readonly versions: readonly string[]
  readonly platform: string
  /** Empty where the server says nothing of them. */
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly TensorMetadata[]
}
