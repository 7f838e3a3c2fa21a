export { ServingError, errorTable, type ErrorCode } from './errors.js'
export { createServing } from './create-serving.js'
export type { AnyServing, FolderModels, ModelHandle, Prediction, Serving } from './serving.js'
export type { CreateServingOptions, ServingOptions } from './serving-options.js'
export type { PredictManyOptions } from './predict-many.js'
export type { PredictionStream, PredictStreamOptions, StreamMeta } from './predict-stream.js'
export type { AnyPrediction, Inference, PredictionMeta, PredictOptions, StageMeta } from './prediction.js'
export type { StagePredictOptions } from './predict-stage.js'
export { pipeline } from './pipeline.js'
export type { PipelineContext, PipelineOptions, PipelineStage, StagePrediction } from './pipeline.js'
export { defaultServing } from './default-serving.js'
export type { Register, RegisteredServing } from './default-serving.js'
export { custom, onnx } from './models/definition.js'
export type { ExposureOptions, HttpProfile } from './models/exposure.js'
export type {
  AnyModel,
  CustomModel,
  CustomOptions,
  Json,
  Model,
  OnnxOptions,
  StreamModel,
} from './models/definition.js'
export { classify, scored } from './models/classification.js'
export type { Classification, ClassifyOptions, Scored } from './models/classification.js'
export type { Codec, DecodeContext, EncodeContext, OutputSpec, Outputs } from './models/codec.js'
export { ModelManager } from './models/manager.js'
export type { ModelSource } from './models/sources/model-source.js'
export type { RemoteSource } from './models/sources/remote-source.js'
export type { VersionPolicy } from './models/version-policy.js'
export type { WatchOptions } from './models/watch-options.js'
export type { ModelManagerOptions } from './models/manager-options.js'
export type { StartRolloutOptions } from './models/rollout-changes.js'
export type { SwitchOptions } from './models/version-changes.js'
export type { ValidationCase } from './validation/cases.js'
export type { Comparison, VersionFigures } from './validation/compare.js'
export type { LatencyQuantiles } from './validation/latency.js'
export type {
  ComparisonOptions,
  Mismatch,
  ValidationGate,
  ValidationOptions,
  ValidationReport,
} from './validation/validate.js'
export type { LoadOptions } from './models/served-model.js'
export type { RollbackResult } from './models/version-history.js'
export type { CanaryOptions } from './models/canary.js'
export type { ShadowOptions, ShadowSnapshot } from './models/shadow.js'
export type { CompareOptions } from './models/agreement.js'
export type { ChangeAction, ChangeListener, ChangeOrigin, ModelChange } from './models/changes.js'
export type { ReplicaOptions } from './state/replica-options.js'
export type { Replicas } from './state/replicas.js'
export type { DesiredModel } from './state/desired-state.js'
export type { Heartbeat } from './state/heartbeats.js'
export type { BatchSafety } from './models/batch-safety.js'
export type { ModelSnapshot, VersionSnapshot } from './models/snapshot.js'
export type {
  ClassificationTask,
  CommonOptions,
  CustomModelOptions,
  ModelOptions,
  Task,
} from './models/model-config.js'
export type { StandardSchemaV1 } from './models/standard-schema.js'
export type { Placement } from './execution/open-session.js'
export type { Provider, ProviderName } from './execution/providers.js'
export type { SessionOptions } from './execution/session-options.js'
export type { VersionInfo } from './models/onnx-model.js'
export type { TensorInterface } from './models/tensor-interface.js'
export type { TensorRequest } from './models/tensor-codec.js'
export type { VersionState } from './models/version.js'
export { health, readiness, type HealthReport, type ReadinessReport } from './health/health.js'
export type { Logger } from './logger.js'
export { Metrics } from './metrics/metrics.js'
export { float32, int64, strings } from './tensor/tensor.js'
export { Batcher } from './batching/batcher.js'
export type { BatcherOptions, SubmitOptions } from './batching/batcher.js'
export type { BatchAnswer } from './batching/batch-run.js'
export type { Batchable, Executor } from './batching/executor.js'
export { PredictionCache } from './cache/prediction-cache.js'
export type { CacheAnswer, CacheOptions, CacheStatus } from './cache/prediction-cache.js'
export type { DType, DTypes, Feeds, Tensor, TensorInfo } from './tensor/tensor.js'
export type { RolloutGuards, RolloutOptions } from './rollout/rollout-options.js'
export type {
  RolloutFigures,
  RolloutPhase,
  RolloutStatus,
  VersionFigures as RolloutVersionFigures,
} from './rollout/rollout-host.js'
