import { checkedTensor } from '../tensor/copy.js'
import { ValueMismatch } from '../tensor/mismatch.js'
import { isDType, isTensorLike } from '../tensor/tensor.js'
import { datatypes } from '../v2/datatype.js'
import { toRaw } from '../v2/raw-tensor.js'
import { joined } from './bytes.js'
import { InferenceError } from './inference-error.js'
import { dataToJson, JsonTensorMismatch } from './json-tensor.js'
import type { InferInput, InferRequest, Parameters, RequestedOutput, RequestedOutputs } from './messages.js'

export interface RequestBody {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** An input in the JSON of a request, and what of it follows that. */
interface EncodedInput {
  readonly json: string
  readonly raw?: Uint8Array
}

const textEncoder = new TextEncoder()

/**
 * The body of an inference request.
 * @param binary whether tensors go as bytes behind the JSON, and are asked for so
 * @throws InferenceError INVALID_REQUEST
 */
export function encodeRequest(
  model: string,
  { inputs, outputs, id, parameters }: InferRequest<RequestedOutputs>,
  binary: boolean,
): RequestBody {
  if (typeof inputs !== 'object' || (inputs as unknown) === null)
    throw invalidRequest(model, 'inputs are missing: give tensors by the names of the inputs.')
  checkParameters(model, 'the request', parameters)
  const encoded = Object.entries(inputs).map(([name, input]) => encodeInput(model, name, input, binary))
  const asked = { ...(binary && { binary_data_output: true }), ...parameters }
  const members = [
    ...(id === undefined ? [] : [`"id":${JSON.stringify(id)}`]),
    ...(Object.keys(asked).length === 0 ? [] : [`"parameters":${JSON.stringify(asked)}`]),
    `"inputs":[${encoded.map(({ json }) => json).join()}]`,
    ...(outputs === undefined ? [] : [`"outputs":${JSON.stringify(requested(model, outputs))}`]),
  ]
  const json = textEncoder.encode(`{${members.join()}}`)
  if (!binary) return { headers: { 'content-type': 'application/json' }, body: json }
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(json.length),
    },
    body: joined([json, ...encoded.flatMap(({ raw = [] }) => raw)]),
  }
}

function encodeInput(model: string, name: string, input: InferInput, binary: boolean): EncodedInput {
  if (!isTensorLike(input)) {
    throw invalidRequest(
      model,
      `input "${name}" is no tensor: give { dtype, shape, data }, or what float32() and others make.`,
    )
  }
  const { dtype, shape, parameters } = input
  if (!isDType(dtype)) {
    const known = Object.keys(datatypes).join(', ')
    throw invalidRequest(model, `input "${name}": the dtype must be one of ${known}.`)
  }
  checkParameters(model, `input "${name}"`, parameters)
  try {
    const tensor = checkedTensor(input, { name, dtype, shape: shape.map(() => '') })
    const raw = binary ? toRaw(tensor) : undefined
    const own = { ...parameters, ...(raw !== undefined && { binary_data_size: raw.length }) }
    const head = {
      name,
      shape,
      datatype: datatypes[dtype],
      ...(Object.keys(own).length > 0 && { parameters: own }),
    }
    const json = JSON.stringify(head)
    return raw === undefined ? { json: `${json.slice(0, -1)},"data":${dataToJson(tensor)}}` } : { json, raw }
  } catch (error) {
    if (error instanceof ValueMismatch) throw invalidRequest(model, error.message, error)
    if (error instanceof JsonTensorMismatch)
      throw invalidRequest(model, `input "${name}": ${error.message}.`, error)
    throw error
  }
}

/** What the protocol has as a list. */
function requested(model: string, outputs: RequestedOutputs): readonly RequestedOutput[] {
  const list = Array.isArray(outputs)
    ? (outputs as readonly (string | RequestedOutput)[])
    : Object.keys(outputs)
  return list.map((output) => {
    if (typeof output === 'string') return { name: output }
    checkParameters(model, `output "${output.name}"`, output.parameters)
    return output
  })
}

/** JSON would make null of a NaN, and has no bigints. */
function checkParameters(model: string, whose: string, parameters: Parameters = {}): void {
  for (const [name, value] of Object.entries<unknown>(parameters)) {
    if (value === undefined || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value))
      continue
    const expected = 'a text, a boolean or a finite number'
    throw invalidRequest(
      model,
      `the parameter "${name}" of ${whose} must be ${expected}; got ${show(value)}.`,
    )
  }
}

function show(value: unknown): string {
  return typeof value === 'number' ? String(value) : typeof value
}

function invalidRequest(model: string, message: string, cause?: unknown): InferenceError {
  return new InferenceError('INVALID_REQUEST', message, { model, cause })
}
