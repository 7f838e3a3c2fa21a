import { showLeaf, ValueMismatch } from '../tensor/mismatch.js'
import { TensorReader } from '../tensor/from-value.js'
import { describeShape, emptyRecord, type DType, type Feeds, type Tensor } from '../tensor/tensor.js'
import { jsonLengthHeader, type RawBytes } from './binary-body.js'
import { datatypeNames, datatypes, dtypeOf } from './datatype.js'
import { asFields, asList, asName, invalidRequest, type JsonFields, type JsonMessage } from './message.js'
import { flag, readParameters, type RequestParameters } from './parameters.js'
import { fromRaw, RawMismatch } from './raw-tensor.js'

/** An output that is asked for. */
export interface RequestedOutput {
  readonly name: string
  /** Whether it is wanted as raw bytes. */
  readonly isBinary: boolean
  /** How many of the highest scores are wanted by their classes, in the place of the tensor; undefined: the tensor. */
  readonly classes: number | undefined
}

/** What an inference request asks. */
export interface InferRequest {
  /** Comes back with the answer. */
  readonly id: string | undefined
  readonly parameters: RequestParameters
  /** Tensors in memory of their own. */
  readonly inputs: Feeds
  /** In the order in which they are wanted, at least one; undefined: all that there are. */
  readonly outputs: readonly RequestedOutput[] | undefined
}

/**
 * Reads an inference request. A field that may be left out may as well be null, as clients made of classes send it.
 * @param raw what follows the JSON; undefined where the body is JSON alone
 * @throws ServingError INVALID_REQUEST, INVALID_INPUT; it names the tensor, what was expected and what came
 */
export function readInferRequest(message: JsonMessage, raw?: RawBytes): InferRequest {
  const id = message.fields.id ?? undefined
  if (id !== undefined && typeof id !== 'string')
    throw invalidRequest(`id must be a text; got ${showLeaf(id)}.`)
  const parameters = readParameters(parametersOf(message.fields, 'the request'))
  const outputs = readOutputs(message.fields, parameters)
  return { id, parameters, outputs, inputs: readInputs(exactly(message), raw) }
}

/** The fields with all digits of integers, where an input needs them. */
function exactly({ fields, exact }: JsonMessage): JsonFields {
  const { inputs } = fields
  const needsDigits = Array.isArray(inputs) && inputs.some(isLongIntegers)
  return needsDigits ? (exact?.() ?? fields) : fields
}

function isLongIntegers(input: unknown): boolean {
  const { datatype, data } = (input ?? {}) as JsonFields
  return data !== undefined && (datatype === 'INT64' || datatype === 'UINT64')
}

function readInputs({ inputs }: JsonFields, raw: RawBytes | undefined): Feeds {
  const entries = asList(inputs, 'inputs').map((entry, i) => asFields(entry, `inputs[${i}]`))
  const feeds = emptyRecord<Tensor>(entries.some(({ name }) => name === '__proto__'))
  for (const [i, entry] of entries.entries()) {
    const name = asName(entry.name, `inputs[${i}].name`)
    if (Object.hasOwn(feeds, name)) throw invalidRequest(`input "${name}" is there twice.`)
    feeds[name] = readTensor(name, entry, raw)
  }
  if (raw !== undefined && raw.size > 0)
    throw invalidRequest(
      `the body has ${raw.size} bytes more than its JSON and its inputs' binary_data_size say.`,
    )
  return feeds
}

function readTensor(name: string, entry: JsonFields, raw: RawBytes | undefined): Tensor {
  const label = `input "${name}"`
  const dtype = dtypeOf(entry.datatype)
  if (dtype === undefined) {
    const known = datatypeNames.join(', ')
    throw invalidRequest(`${label}: the datatype must be one of ${known}; got ${showLeaf(entry.datatype)}.`)
  }
  const shape = readShape(entry.shape, label)
  const parameters = parametersOf(entry, label)
  const size = parameters.binary_data_size ?? undefined
  const data = entry.data ?? undefined
  if (size !== undefined && data !== undefined)
    throw invalidRequest(`${label} has both data and binary_data_size; send one of them.`)
  return size === undefined
    ? readData(name, dtype, shape, data)
    : readRaw(label, dtype, shape, rawOf(label, size, raw))
}

function readShape(value: unknown, label: string): number[] {
  const shape = asList(value, `${label}: the shape`)
  const wrong = shape.find((dimension) => !Number.isSafeInteger(dimension) || Number(dimension) < 0)
  if (wrong === undefined && shape.length <= mostDimensions) return shape as number[]
  const got = wrong === undefined ? `${shape.length} of them` : showLeaf(wrong)
  throw invalidRequest(
    `${label}: the shape must be up to ${mostDimensions} integers of at least 0; got ${got}.`,
  )
}

/** Further dimensions than any runtime has operators for. */
const mostDimensions = 64

function readData(name: string, dtype: DType, shape: readonly number[], data: unknown): Tensor {
  if (!Array.isArray(data)) {
    const got =
      data === undefined ? 'has neither data nor binary_data_size' : `has data that is ${showLeaf(data)}`
    throw invalidRequest(`input "${name}" ${got}; data must be a list, flat or nested as its shape says.`)
  }
  // Of a scalar, too, the one element is in a list.
  const value: unknown = shape.length === 0 && data.length === 1 ? data[0] : data
  try {
    const tensor = new TensorReader({ name, dtype, shape: listed(shape) }, false).read(value)
    return { ...tensor, shape }
  } catch (error) {
    if (error instanceof ValueMismatch) throw invalidRequest(error.message)
    throw error
  }
}

/** A shape as far as nested lists can have it: an empty list has none inside. */
function listed(shape: readonly number[]): readonly number[] {
  const empty = shape.indexOf(0)
  return empty === -1 ? shape : shape.slice(0, empty + 1)
}

/** The raw bytes that an input says it has. */
function rawOf(label: string, size: unknown, raw: RawBytes | undefined): Uint8Array {
  if (raw === undefined)
    throw invalidRequest(`${label} has a binary_data_size, which needs the header ${jsonLengthHeader}.`)
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0)
    throw invalidRequest(
      `${label}: binary_data_size must be an integer of at least 0; got ${showLeaf(size)}.`,
    )
  if (size > raw.size)
    throw invalidRequest(
      `${label}: binary_data_size says ${size} bytes, where ${raw.size} are left of the body.`,
    )
  return raw.take(size)
}

function readRaw(label: string, dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  try {
    return fromRaw(dtype, shape, bytes)
  } catch (error) {
    if (!(error instanceof RawMismatch)) throw error
    throw invalidRequest(`${label}, ${datatypes[dtype]} ${describeShape(shape)}: ${error.message}.`)
  }
}

function readOutputs(
  { outputs }: JsonFields,
  { binaryOutputs }: RequestParameters,
): readonly RequestedOutput[] | undefined {
  const list = asList(outputs ?? [], 'outputs')
  if (list.length === 0) return undefined
  const names = new Set<string>()
  return list.map((value, i) => {
    const entry = asFields(value, `outputs[${i}]`)
    const name = asName(entry.name, `outputs[${i}].name`)
    if (names.has(name)) throw invalidRequest(`output "${name}" is asked for twice.`)
    names.add(name)
    const label = `output "${name}"`
    const parameters = parametersOf(entry, label)
    const isBinary = flag(parameters, 'binary_data', label) ?? binaryOutputs
    return { name, isBinary, classes: classesOf(parameters, label) }
  })
}

function classesOf({ classification: count }: JsonFields, label: string): number | undefined {
  if (count === undefined || count === null || count === 0) return undefined
  if (typeof count === 'number' && Number.isInteger(count) && count > 0) return count
  throw invalidRequest(`${label}: classification must be a number of classes; got ${showLeaf(count)}.`)
}

/** The parameters of a request, an input or an output. */
function parametersOf({ parameters }: JsonFields, whose: string): JsonFields {
  const fields = asFields(parameters ?? {}, `${whose}: parameters`)
  const shared = Object.keys(fields).find((name) => name.startsWith('shared_memory_'))
  if (shared === undefined) return fields
  throw invalidRequest(
    `${whose} has the parameter ${shared}: there is no shared memory here; send the tensors.`,
  )
}
