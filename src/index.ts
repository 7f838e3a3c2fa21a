export { ServingError, errorTable, type ErrorCode } from './errors.js'
export { createServing } from './serving.js'
export type {
  CreateServingOptions,
  FolderModels,
  Prediction,
  Serving,
  ServingOptions,
} from './serving.js'
export type { PredictionMeta, PredictOptions } from './predict.js'
export { onnx } from './models/definition.js'
export type { AnyModel, Json, Model, OnnxOptions } from './models/definition.js'
export { classify, scored } from './models/classification.js'
export type { Classification, ClassifyOptions, Scored } from './models/classification.js'
export type { Codec, DecodeContext, EncodeContext, OutputSpec, Outputs } from './models/codec.js'
export { ModelManager } from './models/manager.js'
export type { LoadOptions, ModelManagerOptions, ModelSnapshot, VersionSnapshot } from './models/manager.js'
export type { ClassificationTask, ModelOptions, Task } from './models/model-config.js'
export type { StandardSchemaV1 } from './models/standard-schema.js'
export type { VersionInfo, VersionState } from './models/version.js'
export type { HealthReport, ReadinessReport } from './health/health.js'
export type { Logger } from './logger.js'
export type { Metrics } from './metrics/metrics.js'
export { float32, int64, strings } from './tensor/tensor.js'
export type { DType, DTypes, Feeds, Tensor, TensorInfo } from './tensor/tensor.js'
