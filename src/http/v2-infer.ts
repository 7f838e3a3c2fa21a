import { ServingError } from '../errors.js'
import { show } from '../options.js'
import type { Inference, PredictOptions } from '../prediction.js'
import type { AnyServing } from '../serving.js'
import { jsonLengthHeader } from '../v2/binary-body.js'
import { topClasses } from '../v2/classification.js'
import { readInferRequest, type InferRequest, type RequestedOutput } from '../v2/infer-request.js'
import type { RequestParameters } from '../v2/parameters.js'
import { writeInferResponse, type ResponseOutput } from '../v2/infer-response.js'
import { checkMediaType, readChunks, readJsonObject, type BodyLimits } from './body.js'
import { compressed } from './compression.js'
import type { RequestContext } from './door-options.js'
import type { HttpRequest, WholeResponse } from './exchange.js'
import { parseJsonObject } from './json.js'
import type { Exchange } from './native.js'

/** Inference in tensors, as JSON or as raw bytes, both ways. */
export async function postInfer(exchange: Exchange): Promise<WholeResponse> {
  const { serving, request, limits } = exchange
  if (serving.refusal !== undefined) throw serving.refusal
  const asked = await readRequest(request, limits)
  // Not awaited: what this function holds, the inputs first of all, would be held as long.
  return answer(exchange, asked)
}

function answer(
  exchange: Exchange,
  { id, inputs, outputs, parameters }: InferRequest,
): Promise<WholeResponse> {
  const { serving, request } = exchange
  const names = outputs?.map(({ name }) => name)
  return serving
    .infer(
      request.params.model ?? '',
      { inputs, outputs: names, transfer: true },
      optionsOf(exchange, parameters),
    )
    .then((inference) => inferResponse(serving, inference, outputs, parameters.binaryOutputs, id))
    .then((response) => compressed(response, request.headers))
}

function optionsOf({ request, context, requestId }: Exchange, parameters: RequestParameters): PredictOptions {
  const { version = request.params.version ?? 'latest' } = context
  return { ...wishesOf(context, parameters), version, requestId, signal: request.signal }
}

/** What the host says of a request wins over what it says itself. */
export function wishesOf(
  context: RequestContext,
  { priority: asked, timeoutMs: askedMs }: RequestParameters,
): RequestContext {
  const { priority = asked, timeoutMs = askedMs } = context
  return {
    ...context,
    ...(priority !== undefined && { priority }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  }
}

/**
 * A header says whether there are raw bytes; the content type says nothing, as with Triton: that of `curl -d` is a form's.
 * @throws ServingError INVALID_REQUEST, INVALID_INPUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
async function readRequest(request: HttpRequest, limits: BodyLimits): Promise<InferRequest> {
  checkMediaType(request)
  const jsonLength = jsonLengthOf(request)
  if (jsonLength === undefined) return readInferRequest(await readJsonObject(request, limits))
  const chunks = await readChunks(request, limits)
  if (jsonLength > chunks.size)
    throw invalid(`${jsonLengthHeader} says ${jsonLength} bytes, where the body has ${chunks.size}.`)
  return readInferRequest(parseJsonObject(chunks.take(jsonLength), limits), chunks)
}

/** How many bytes of the body are its JSON; undefined where all are. @throws ServingError INVALID_REQUEST */
function jsonLengthOf({ headers }: HttpRequest): number | undefined {
  const given = headers[jsonLengthHeader]
  if (given === undefined) return undefined
  const length = typeof given === 'string' && /^\d{1,15}$/.test(given) ? Number(given) : 0
  if (length > 0) return length
  throw invalid(
    `${jsonLengthHeader} must be the number of bytes of the body's JSON, at least 1; got ${show(given)}.`,
  )
}

function inferResponse(
  serving: AnyServing,
  inference: Inference,
  requested: readonly RequestedOutput[] | undefined,
  binaryOutputs: boolean,
  id: string | undefined,
): WholeResponse {
  const { model, version, degraded } = inference.meta
  const outputs = responseOutputs(serving, inference, requested, binaryOutputs)
  const { body, jsonLength } = writeInferResponse({ model, version, id, outputs })
  return {
    status: 200,
    headers: {
      ...(jsonLength === undefined
        ? { 'content-type': 'application/json; charset=utf-8' }
        : { 'content-type': 'application/octet-stream', [jsonLengthHeader]: String(jsonLength) }),
      ...(degraded !== undefined && { 'x-mlserving-degraded': degraded }),
    },
    body,
  }
}

/** The outputs that were asked for, in that order, or all; with classes in the place of scores where those were. */
export function responseOutputs(
  { models }: AnyServing,
  { outputs, meta }: Inference,
  requested: readonly RequestedOutput[] | undefined,
  binaryOutputs: boolean,
): ResponseOutput[] {
  const { model, version } = meta
  const all = (): RequestedOutput[] =>
    Object.keys(outputs).map((name) => ({ name, isBinary: binaryOutputs, classes: undefined }))
  return (requested ?? all()).map(({ name, isBinary, classes }) => {
    const tensor = outputs[name]
    if (tensor === undefined) throw new ServingError('INTERNAL', `the run gave no output "${name}"`)
    if (classes === undefined) return { name, tensor, isBinary }
    const { hasRows = false, classes: labels } = models.tensorInterface(model, version) ?? {}
    return { name, isBinary, tensor: topClasses({ name, tensor, hasRows, labels: labels?.[name] }, classes) }
  })
}

function invalid(message: string): ServingError {
  return new ServingError('INVALID_REQUEST', message)
}
