import type { Metadata } from '@grpc/grpc-js'
import type { RequestContext } from '../../src/http/door-options.js'
import { responseOutputs } from '../../src/http/v2-infer.js'
import {
  isModelReady,
  modelMetadata,
  serverMetadata,
  type TensorMetadata,
} from '../../src/http/v2-metadata.js'
import type { PredictOptions } from '../../src/prediction.js'
import type { AnyServing } from '../../src/serving.js'
import { grpcResponse, readGrpcRequest } from '../../src/v2/grpc-infer.js'
import type { ModelInferRequest } from '../../src/v2/grpc-messages.js'
import type { inferenceMethods, InferenceMethod } from '../../src/v2/grpc-service.js'
import type { MessageOf, WrittenOf } from '../../src/v2/protobuf/message.js'

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
type Handlers = {
  readonly [M in InferenceMethod]: Handler<
    MessageOf<Methods[M]['request']>,
    WrittenOf<Methods[M]['response']>
  >
}

/** The calls of the Open Inference Protocol, version 2. */
export const inferenceHandlers: Partial<Handlers> = {
  ServerLive: { answer: () => ({ live: true }) },
  ServerReady: {
    answer: ({ serving, isClosing }) => ({ ready: !isClosing && serving.readiness().status === 'ready' }),
  },
  ModelReady: {
    answer: async ({ serving, request }) => {
      if (!serving.models.isListed) await serving.models.listed()
      const { name, version } = request
      return { ready: serving.models.has(name) && isModelReady(serving, name, named(version)) }
    },
  },
  ServerMetadata: { answer: ({ serverName, isAdministered }) => serverMetadata(serverName, isAdministered) },
  ModelMetadata: {
    answer: async ({ serving, request: { name, version }, signal }) => {
      const { inputs, outputs, ...rest } = await modelMetadata(serving, name, named(version), signal)
      return { ...rest, inputs: inputs.map(withLongShape), outputs: outputs.map(withLongShape) }
    },
  },
  ModelInfer: { access: 'context', answer: infer },
}

/** Clients leave the version open with an empty name. */
function named(version: string): string | undefined {
  return version === '' ? undefined : version
}

function withLongShape({ shape, ...rest }: TensorMetadata) {
  return { ...rest, shape: BigInt64Array.from(shape, BigInt) }
}

async function infer(
  exchange: Exchange<ModelInferRequest>,
): Promise<WrittenOf<Methods['ModelInfer']['response']>> {
  const { serving, request, context, metadata } = exchange
  if (serving.refusal !== undefined) throw serving.refusal
  const { id, inputs, outputs, parameters } = readGrpcRequest(request)
  const { binaryOutputs, ...wishes } = parameters
  const options = optionsOf(exchange, { ...wishes, ...context })
  const names = outputs?.map(({ name }) => name)
  const inference = await serving.infer(
    request.model_name,
    { inputs, outputs: names, transfer: true },
    { version: named(request.model_version) ?? 'latest', ...options },
  )
  const { model, version, degraded } = inference.meta
  if (degraded !== undefined) metadata.set('x-mlserving-degraded', degraded)
  return grpcResponse({
    model,
    version,
    id,
    outputs: responseOutputs(serving, inference, outputs, binaryOutputs),
  })
}

/** The wishes of the request and the host, bounded by the call's own deadline. */
function optionsOf(
  { signal, requestId, timeoutMs = Infinity }: Exchange<unknown>,
  wishes: PredictOptions,
): PredictOptions {
  const bound = Math.min(timeoutMs, wishes.timeoutMs ?? Infinity)
  return { ...wishes, signal, requestId, ...(bound < Infinity && { timeoutMs: bound }) }
}
