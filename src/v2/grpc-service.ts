import * as messages from './grpc-messages.js'

/** The calls of `inference.GRPCInferenceService` by their names, each with the types of its request and its answer. */
export const inferenceMethods = {
  ServerLive: { request: messages.empty, response: messages.serverLive },
  ServerReady: { request: messages.empty, response: messages.serverReady },
  ModelReady: { request: messages.modelName, response: messages.modelReady },
  ServerMetadata: { request: messages.empty, response: messages.serverMetadata },
  ModelMetadata: { request: messages.modelName, response: messages.modelMetadata },
  ModelInfer: { request: messages.modelInferRequest, response: messages.modelInferResponse },
  ModelConfig: { request: messages.modelName, response: messages.modelConfigResponse },
  ModelStatistics: { request: messages.modelName, response: messages.modelStatisticsResponse },
  RepositoryIndex: {
    request: messages.repositoryIndexRequest,
    response: messages.repositoryIndexResponse,
  },
  RepositoryModelLoad: { request: messages.repositoryModelRequest, response: messages.empty },
  RepositoryModelUnload: { request: messages.repositoryModelRequest, response: messages.empty },
} as const

export type InferenceMethod = keyof typeof inferenceMethods

/** The one call of which requests and answers go on. */
export const inferenceStreams = {
  ModelStreamInfer: { request: messages.modelInferRequest, response: messages.modelStreamInferResponse },
} as const

export const inferenceService = 'inference.GRPCInferenceService'
