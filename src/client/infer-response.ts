import { emptyRecord, type DType, type Tensor } from '../tensor/tensor.js'
import { dtypeOf } from '../v2/datatype.js'
import { fromRaw, RawMismatch } from '../v2/raw-tensor.js'
import { parseExactJson } from './exact-json.js'
import { JsonTensorMismatch, tensorOfJson } from './json-tensor.js'
import type { InferOutput, InferResponse, Parameters, RequestedOutputs } from './messages.js'
import { isObject, isParameters, isShape, optional, textOf, Unexpected } from './response-json.js'

/**
 * Reads the answer to an inference request. Outputs may be in its JSON, or as bytes behind it, or some here and some there.
 * @param headerLength of the JSON, where the server says that there is more
 * @param wanted must be among the outputs
 * @throws Unexpected
 */
export function decodeResponse<S extends RequestedOutputs>(
  body: Uint8Array,
  headerLength: string | null,
  wanted: S | undefined,
): InferResponse<S> {
  const jsonLength = headerLength === null ? body.length : Number(headerLength)
  if (!Number.isInteger(jsonLength) || jsonLength < 0 || jsonLength > body.length) {
    const given = `Inference-Header-Content-Length is ${headerLength ?? ''}`
    throw new Unexpected(`${given} for a body of ${body.length} bytes`)
  }
  const message = jsonOf(body.subarray(0, jsonLength))
  if (!Array.isArray(message.outputs)) throw new Unexpected('it has no list of outputs')
  const binary = new BinaryPart(body.subarray(jsonLength))
  const outputs = emptyRecord<InferOutput>(true)
  for (const output of message.outputs as unknown[]) {
    if (!isObject(output)) throw new Unexpected('an output is no object')
    const name = textOf(output, 'name')
    if (name in outputs) throw new Unexpected(`output "${name}" is there twice`)
    outputs[name] = outputOf(output, binary)
  }
  binary.end()
  checkWanted(outputs, wanted)
  return {
    modelName: textOf(message, 'model_name'),
    ...optional('modelVersion', message.model_version, 'string'),
    ...optional('id', message.id, 'string'),
    ...(isParameters(message.parameters) && { parameters: message.parameters }),
    outputs: outputs as unknown as InferResponse<S>['outputs'],
  }
}

function jsonOf(bytes: Uint8Array): Record<string, unknown> {
  let message: unknown
  try {
    message = parseExactJson(new TextDecoder().decode(bytes))
  } catch {
    throw new Unexpected('it is no JSON')
  }
  if (!isObject(message)) throw new Unexpected('its JSON is no object')
  return message
}

/** The bytes behind the JSON, which belong to the outputs in their order. */
class BinaryPart {
  #at = 0

  constructor(private readonly bytes: Uint8Array) {}

  take(size: number): Uint8Array {
    const part = this.bytes.subarray(this.#at, this.#at + size)
    if (part.length !== size)
      throw new Unexpected(`it ends ${size - part.length} bytes before an output does`)
    this.#at += size
    return part
  }

  end(): void {
    const left = this.bytes.length - this.#at
    if (left > 0) throw new Unexpected(`${left} bytes of it belong to no output`)
  }
}

function outputOf(output: Record<string, unknown>, binary: BinaryPart): InferOutput {
  const name = textOf(output, 'name')
  const { datatype, shape, parameters: given } = output
  const dtype = dtypeOf(datatype)
  if (dtype === undefined) throw new Unexpected(`output "${name}" has the datatype ${String(datatype)}`)
  if (!isShape(shape)) throw new Unexpected(`output "${name}" has no shape`)
  const { binary_data_size: size, ...parameters } = isParameters(given) ? given : ({} as Parameters)
  try {
    const tensor =
      size === undefined
        ? tensorOfJson(dtype, shape, output.data)
        : fromRaw(dtype, shape, binary.take(sizeOf(name, size)))
    return Object.keys(parameters).length === 0 ? tensor : { ...tensor, parameters }
  } catch (error) {
    if (!(error instanceof RawMismatch) && !(error instanceof JsonTensorMismatch)) throw error
    throw new Unexpected(`output "${name}": ${error.message}`)
  }
}

function sizeOf(name: string, size: unknown): number {
  if (typeof size === 'number' && Number.isInteger(size) && size >= 0) return size
  throw new Unexpected(`output "${name}" has a binary_data_size of ${String(size)}`)
}

function checkWanted(outputs: Readonly<Record<string, Tensor>>, wanted: RequestedOutputs = []): void {
  const all: readonly (readonly [string, DType | undefined])[] = Array.isArray(wanted)
    ? wanted.map((output: string | { name: string }) => [
        typeof output === 'string' ? output : output.name,
        undefined,
      ])
    : Object.entries(wanted as Readonly<Record<string, DType>>)
  for (const [name, dtype] of all) {
    const tensor = outputs[name]
    if (tensor === undefined) throw new Unexpected(`output "${name}" is missing`)
    if (dtype !== undefined && tensor.dtype !== dtype)
      throw new Unexpected(`output "${name}" is ${tensor.dtype}, not ${dtype}`)
  }
}
