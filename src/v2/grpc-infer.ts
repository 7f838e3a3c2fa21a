import { copyOf } from '../tensor/tensor.js'
import type { RawBytes } from './binary-body.js'
import { datatypes, dtypeOf } from './datatype.js'
import type { InferTensor, ModelInferRequest, modelInferResponse } from './grpc-messages.js'
import type { Parameter } from './grpc-parameter.js'
import { readInferRequest, type InferRequest } from './infer-request.js'
import type { InferResponse } from './infer-response.js'
import { invalidRequest, type JsonFields } from './message.js'
import type { WrittenOf } from './protobuf/message.js'
import { RawMismatch, toRaw } from './raw-tensor.js'
import { contentsOf, elementsOf } from './tensor-contents.js'

/**
 * Reads an inference request as one of JSON and raw bytes is read, so that both are held to the same.
 * @throws ServingError INVALID_REQUEST; it names the tensor, what was expected and what came
 */
export function readGrpcRequest(request: ModelInferRequest): InferRequest {
  const raws = request.inputs.map(rawsOf(request))
  const inputs = request.inputs.map(({ name, datatype, shape, parameters }, i) => ({
    name,
    datatype,
    // Of 64 bits each: what is no safe integer is no other one that could pass for a dimension.
    shape: Array.from(shape, Number),
    parameters: { ...fieldsOf(parameters), binary_data_size: raws[i]?.byteLength ?? 0 },
  }))
  const outputs = request.outputs.map(({ name, parameters }) => ({
    name,
    parameters: fieldsOf(parameters),
  }))
  const fields: JsonFields = {
    ...(request.id !== '' && { id: request.id }),
    parameters: { binary_data_output: true, ...fieldsOf(request.parameters) },
    inputs,
    ...(outputs.length > 0 && { outputs }),
  }
  return readInferRequest({ fields }, inOrder(raws))
}

/** What has an input's raw bytes. @throws ServingError INVALID_REQUEST */
function rawsOf({
  inputs,
  raw_input_contents: raws,
}: ModelInferRequest): (input: InferTensor, i: number) => Uint8Array {
  if (raws.length === 0) return rawContents
  if (raws.length !== inputs.length)
    throw invalidRequest(
      `raw_input_contents must be one for each of the ${inputs.length} inputs; got ${raws.length}.`,
    )
  return ({ name, contents, datatype }, i) => {
    if (contents !== undefined && Object.values(contents).some(({ length }) => length > 0))
      throw invalidRequest(
        `input "${name}" has contents beside raw_input_contents; send all inputs in one of the two.`,
      )
    const raw = raws[i] ?? new Uint8Array()
    // Texts are read from where they are; numbers must have memory of their own, which begins at a whole element.
    return datatype === datatypes.string ? raw : copyOf(raw)
  }
}

/** Typed contents as raw bytes. @throws ServingError INVALID_REQUEST */
function rawContents({ name, datatype, contents }: InferTensor): Uint8Array {
  const dtype = dtypeOf(datatype)
  if (dtype === undefined) return new Uint8Array() // whoever reads the datatype says so
  try {
    const data = elementsOf(dtype, contents ?? {})
    return toRaw({ dtype, shape: [data.length], data } as Parameters<typeof toRaw>[0])
  } catch (error) {
    if (!(error instanceof RawMismatch)) throw error
    throw invalidRequest(`input "${name}", ${datatype}: ${error.message}.`)
  }
}

function inOrder(raws: readonly Uint8Array[]): RawBytes {
  let next = 0
  let size = raws.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return {
    get size() {
      return size
    },
    take: (length) => {
      size -= length
      return raws[next++] ?? new Uint8Array()
    },
  }
}

function fieldsOf(parameters: ReadonlyMap<string, Parameter | undefined>): JsonFields {
  const entries = Array.from(parameters, ([name, value]) => [
    name,
    typeof value === 'bigint' ? Number(value) : value,
  ])
  return Object.fromEntries(entries) as JsonFields
}

type Answer = WrittenOf<typeof modelInferResponse>

/** An answer as a message: with raw contents, or typed ones where no output is wanted, or must go, as raw bytes. */
export function grpcResponse({ model, version, id = '', outputs }: InferResponse): Answer {
  const contents = outputs.map(({ tensor, isBinary }) => (isBinary ? undefined : contentsOf(tensor)))
  const isRaw = contents.includes(undefined)
  return {
    model_name: model,
    model_version: version,
    id,
    outputs: outputs.map(({ name, tensor: { dtype, shape } }, i) => ({
      name,
      datatype: datatypes[dtype],
      shape: BigInt64Array.from(shape, BigInt),
      contents: isRaw ? undefined : contents[i],
    })),
    ...(isRaw && { raw_output_contents: outputs.map(({ tensor }) => toRaw(tensor)) }),
  }
}
