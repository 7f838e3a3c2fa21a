import { inferParameter, repositoryParameter } from './grpc-parameter.js'
import { bool, string, uint32, uint64 } from './protobuf/field.js'
import { byteStrings, texts } from './protobuf/list.js'
import { map, Message, message, messages, type MessageOf } from './protobuf/message.js'
import { bools, doubles, floats, int32s, int64s, uint32s, uint64s } from './protobuf/numbers.js'

/**
 * The messages of `inference.GRPCInferenceService` by the names and numbers that clients speak: those of the Open
 * Inference Protocol, and of Triton's extensions for configuration, statistics and repository.
 */

const parametersOf = (number: number) => map(number, string(1), message(2, inferParameter))
const repositoryParameters = map(3, string(1), message(2, repositoryParameter))

export const empty = new Message({})
export const serverLive = new Message({ live: bool(1) })
export const serverReady = new Message({ ready: bool(1) })
export const serverMetadata = new Message({ name: string(1), version: string(2), extensions: texts(3) })

/** A model, and one of its versions or '': the request of its readiness, metadata, statistics and configuration. */
export const modelName = new Message({ name: string(1), version: string(2) })
export const modelReady = new Message({ ready: bool(1) })

const tensorMetadata = new Message({ name: string(1), datatype: string(2), shape: int64s(3) })
export const modelMetadata = new Message({
  name: string(1),
  versions: texts(2),
  platform: string(3),
  inputs: messages(4, tensorMetadata),
  outputs: messages(5, tensorMetadata),
})

/** Elements by their type: the one list that fits the tensor's has them. */
export const tensorContents = new Message({
  bool_contents: bools(1),
  int_contents: int32s(2),
  int64_contents: int64s(3),
  uint_contents: uint32s(4),
  uint64_contents: uint64s(5),
  fp32_contents: floats(6),
  fp64_contents: doubles(7),
  bytes_contents: texts(8),
})

/** An input, or an output that is answered. */
export const inferTensor = new Message({
  name: string(1),
  datatype: string(2),
  shape: int64s(3),
  parameters: parametersOf(4),
  contents: message(5, tensorContents),
})

const requestedOutput = new Message({ name: string(1), parameters: parametersOf(2) })

export const modelInferRequest = new Message({
  model_name: string(1),
  model_version: string(2),
  id: string(3),
  parameters: parametersOf(4),
  inputs: messages(5, inferTensor),
  outputs: messages(6, requestedOutput),
  raw_input_contents: byteStrings(7),
})

export const modelInferResponse = new Message({
  model_name: string(1),
  model_version: string(2),
  id: string(3),
  parameters: parametersOf(4),
  outputs: messages(5, inferTensor),
  raw_output_contents: byteStrings(6),
})
export type ModelInferResponse = MessageOf<typeof modelInferResponse>

/** The answer to one request of a stream: what is wrong with it is said beside its answer. */
export const modelStreamInferResponse = new Message({
  error_message: string(1),
  infer_response: message(2, modelInferResponse),
})

const configInput = new Message({ name: string(1), data_type: uint32(2), dims: int64s(4) })
const configOutput = new Message({ name: string(1), data_type: uint32(2), dims: int64s(3) })
const instanceGroup = new Message({ name: string(1), count: uint32(2), kind: uint32(4) })
const dynamicBatching = new Message({ max_queue_delay_microseconds: uint64(2) })

/** The part of Triton's configuration that means something here. */
const modelConfig = new Message({
  name: string(1),
  platform: string(2),
  max_batch_size: uint32(4),
  input: messages(5, configInput),
  output: messages(6, configOutput),
  instance_group: messages(7, instanceGroup),
  dynamic_batching: message(11, dynamicBatching),
  backend: string(17),
})
export const modelConfigResponse = new Message({ config: message(1, modelConfig) })

const duration = new Message({ count: uint64(1), ns: uint64(2) })
const inferStatistics = new Message({
  success: message(1, duration),
  fail: message(2, duration),
  queue: message(3, duration),
  compute_input: message(4, duration),
  compute_infer: message(5, duration),
  compute_output: message(6, duration),
  cache_hit: message(7, duration),
  cache_miss: message(8, duration),
})
const batchStatistics = new Message({
  batch_size: uint64(1),
  compute_input: message(2, duration),
  compute_infer: message(3, duration),
  compute_output: message(4, duration),
})
const modelStatistics = new Message({
  name: string(1),
  version: string(2),
  last_inference: uint64(3),
  inference_count: uint64(4),
  execution_count: uint64(5),
  inference_stats: message(6, inferStatistics),
  batch_stats: messages(7, batchStatistics),
})
export const modelStatisticsResponse = new Message({ model_stats: messages(1, modelStatistics) })

export const repositoryIndexRequest = new Message({ repository_name: string(1), ready: bool(2) })
const modelIndex = new Message({ name: string(1), version: string(2), state: string(3), reason: string(4) })
export const repositoryIndexResponse = new Message({ models: messages(1, modelIndex) })

/** Of a load as of an unload. */
export const repositoryModelRequest = new Message({
  repository_name: string(1),
  model_name: string(2),
  parameters: repositoryParameters,
})

export type TensorContents = MessageOf<typeof tensorContents>
export type InferTensor = MessageOf<typeof inferTensor>
export type ModelInferRequest = MessageOf<typeof modelInferRequest>
