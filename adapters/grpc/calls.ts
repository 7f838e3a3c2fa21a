import type { Metadata } from '@grpc/grpc-js'
import { ServingError } from '../../src/errors.js'
import type { RequestContext } from '../../src/http/door-options.js'
import { modelConfiguration } from '../../src/http/v2-config.js'
import { isModelReady, modelMetadata, serverMetadata } from '../../src/http/v2-metadata.js'
import { loadModel, repositoryIndex, unloadModel } from '../../src/http/v2-repository.js'
import { modelStatistics } from '../../src/http/v2-statistics.js'
import type { AnyServing } from '../../src/serving.js'
import type { inferenceMethods, InferenceMethod } from '../../src/v2/grpc-service.js'
import type { MessageOf, WrittenOf } from '../../src/v2/protobuf/message.js'
import { configMessage, metadataMessage, statisticsMessage } from './answers.js'
import { given, infer } from './infer.js'

/** What a call's handler works with. */
export interface Exchange<Q> {
  readonly serving: AnyServing
  readonly serverName: string
  /** Whether there is anybody who may load and unload models. */
  readonly isAdministered: boolean
  /** Whether the server is about to close. */
  readonly isClosing: boolean
  readonly request: Q
  readonly requestId: string
  /** Aborted when the caller gives up. */
  readonly signal: AbortSignal
  /** Milliseconds until the call's deadline; undefined where it has none. */
  readonly timeoutMs: number | undefined
  /** What the host says of the call. */
  readonly context: RequestContext
  /** Who is asking, of a call that changes what serves. */
  readonly actor?: string
  /** What the answer's metadata is to say. */
  readonly metadata: Metadata
}

export interface Handler<Q, A> {
  /** Whom the host is asked about first: its `context` of who asks, or who may change what serves. */
  readonly access?: 'context' | 'admin'
  answer(exchange: Exchange<Q>): A | Promise<A>
}

type Methods = typeof inferenceMethods
type Written<M extends InferenceMethod> = WrittenOf<Methods[M]['response']>
type Handlers = {
  readonly [M in InferenceMethod]: Handler<MessageOf<Methods[M]['request']>, Written<M>>
}

/** The calls of the Open Inference Protocol, version 2, and of its extensions. */
export const inferenceHandlers: Handlers = {
  ServerLive: { answer: () => ({ live: true }) },
  ServerReady: {
    answer: ({ serving, isClosing }) => ({ ready: !isClosing && serving.readiness().status === 'ready' }),
  },
  ModelReady: {
    answer: async ({ serving, request: { name, version } }) => {
      await serving.models.listed()
      return { ready: isReady(serving, name, given(version)) }
    },
  },
  ServerMetadata: { answer: ({ serverName, isAdministered }) => serverMetadata(serverName, isAdministered) },
  ModelMetadata: {
    answer: async ({ serving, request: { name, version }, signal }) => {
      const { inputs, outputs, ...rest } = await modelMetadata(serving, name, given(version), signal)
      return { ...rest, inputs: inputs.map(metadataMessage), outputs: outputs.map(metadataMessage) }
    },
  },
  ModelInfer: { access: 'context', answer: infer },
  ModelConfig: {
    answer: async ({ serving, request: { name, version }, signal }) => ({
      config: configMessage(await modelConfiguration(serving, name, given(version), signal)),
    }),
  },
  ModelStatistics: {
    answer: async ({ serving, request: { name, version } }) => {
      await serving.models.listed()
      const { model_stats } = modelStatistics(serving, given(name), given(version))
      return { model_stats: model_stats.map(statisticsMessage) }
    },
  },
  RepositoryIndex: {
    access: 'admin',
    answer: async ({ serving, request: { ready } }) => ({ models: await repositoryIndex(serving, ready) }),
  },
  RepositoryModelLoad: {
    access: 'admin',
    answer: async ({ serving, request, actor, requestId }) => {
      const parameters = Object.fromEntries(request.parameters)
      await loadModel(serving, request.model_name, parameters, { actor, requestId })
      return {}
    },
  },
  RepositoryModelUnload: {
    access: 'admin',
    answer: async ({ serving, request, actor, requestId }) => {
      await unloadModel(serving, request.model_name, { actor, requestId })
      return {}
    },
  },
}

/** What there is not is not ready: clients of Triton expect an answer, and no error. */
function isReady(serving: AnyServing, model: string, version: string | undefined): boolean {
  try {
    return isModelReady(serving, model, version)
  } catch (error) {
    if (ServingError.is(error, 'MODEL_NOT_FOUND', 'VERSION_NOT_FOUND')) return false
    throw error
  }
}
