export { InferenceClient, type ModelCallOptions } from './inference-client.js'
export type { InferenceClientOptions } from './client-options.js'
export type { CallOptions } from './call-limit.js'
export { InferenceError, type InferenceErrorCode, type InferenceErrorDetails } from './inference-error.js'
export type {
  InferInput,
  InferOutput,
  InferRequest,
  InferResponse,
  ModelStatistics,
  OutputsOf,
  Parameters,
  RepositoryEntry,
  RequestedOutput,
  RequestedOutputs,
  StatisticDuration,
} from './messages.js'
export type { ModelMetadata, ServerMetadata, TensorMetadata } from '../v2/metadata.js'
export { float32, int64, strings } from '../tensor/tensor.js'
export type { DType, DTypes, Tensor } from '../tensor/tensor.js'
