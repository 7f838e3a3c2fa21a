import { responseOutputs, wishesOf } from '../../src/http/v2-infer.js'
import type { PredictOptions } from '../../src/prediction.js'
import { grpcResponse, readGrpcRequest } from '../../src/v2/grpc-infer.js'
import type { ModelInferRequest, modelInferResponse } from '../../src/v2/grpc-messages.js'
import type { RequestParameters } from '../../src/v2/parameters.js'
import type { WrittenOf } from '../../src/v2/protobuf/message.js'
import type { Exchange } from './calls.js'

/** An inference that is asked for, alone or on a stream. */
export type InferExchange = Omit<
  Exchange<ModelInferRequest>,
  'serverName' | 'isAdministered' | 'isClosing' | 'actor'
> &
  Pick<PredictOptions, 'whenFull'>

/** Asks a model, in tensors. @throws ServingError */
export async function infer(exchange: InferExchange): Promise<WrittenOf<typeof modelInferResponse>> {
  const { serving, request, metadata } = exchange
  if (serving.refusal !== undefined) throw serving.refusal
  const { id, inputs, outputs, parameters } = readGrpcRequest(request)
  const names = outputs?.map(({ name }) => name)
  const inference = await serving.infer(
    request.model_name,
    { inputs, outputs: names, transfer: true },
    optionsOf(exchange, parameters),
  )
  const { model, version, degraded } = inference.meta
  if (degraded !== undefined) metadata.set(degradedKey, degraded)
  const answered = responseOutputs(serving, inference, outputs, parameters.binaryOutputs)
  return grpcResponse({ model, version, id, outputs: answered })
}

/** How an answer came that is not the model's own of now is in the metadata under this name. */
export const degradedKey = 'x-mlserving-degraded'

/** The wishes of the request and the host, bounded by the call's own deadline. */
function optionsOf(
  { request, context, requestId, signal, timeoutMs = Infinity, whenFull }: InferExchange,
  parameters: RequestParameters,
): PredictOptions {
  const wishes = wishesOf(context, parameters)
  const { version = given(request.model_version) ?? 'latest' } = wishes
  const bound = Math.min(timeoutMs, wishes.timeoutMs ?? Infinity)
  return {
    ...wishes,
    version,
    requestId,
    signal,
    ...(bound < Infinity && { timeoutMs: bound }),
    ...(whenFull !== undefined && { whenFull }),
  }
}

/** A name; protobuf has an empty text for one that was not given. */
export function given(name: string): string | undefined {
  return name === '' ? undefined : name
}
