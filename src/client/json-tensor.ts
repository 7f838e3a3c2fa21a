import { ElementMismatch, elementOf } from '../tensor/element.js'
import { fromFloat16 } from '../tensor/float16.js'
import { showLeaf } from '../tensor/mismatch.js'
import { elementCount, typedArrays, type DType, type Tensor } from '../tensor/tensor.js'

/** The elements are none that JSON can hold, or not those of the tensor; the message says which would be. */
export class JsonTensorMismatch extends Error {}

/**
 * A tensor's elements as the JSON text of a flat list: 64-bit integers as digits, float16 as numbers, bools as true and
 * false.
 * @throws JsonTensorMismatch for NaN and infinities, which JSON does not have
 */
export function dataToJson({ dtype, data }: Tensor): string {
  switch (dtype) {
    case 'string':
      return JSON.stringify(data)
    case 'bool':
      return `[${Array.from(data, (value) => String(value !== 0)).join()}]`
    case 'float16':
      return `[${Array.from(data, (bits) => floatText(fromFloat16(bits))).join()}]`
    case 'float32':
    case 'float64':
      return `[${Array.from(data, floatText).join()}]`
    default:
      return `[${data.join()}]`
  }
}

function floatText(value: number): string {
  // Of Python's servers -0 is an integer, which has no sign.
  if (Object.is(value, -0)) return '-0.0'
  if (Number.isFinite(value)) return String(value)
  throw new JsonTensorMismatch(`JSON has no ${value}; only binary tensors carry it`)
}

/**
 * The tensor that the `data` of a JSON message is: flat or nested, row-major. What is null among floats is NaN: so servers
 * write what JSON does not have.
 * @param shape without negative or fractional dimensions
 * @throws JsonTensorMismatch
 */
export function tensorOfJson(dtype: DType, shape: readonly number[], value: unknown): Tensor {
  if (!Array.isArray(value)) throw new JsonTensorMismatch('its data is no list')
  const entries: readonly unknown[] = value.some(Array.isArray) ? value.flat(shape.length) : value
  const count = elementCount(shape)
  if (entries.length !== count) {
    throw new JsonTensorMismatch(`a shape of ${count} elements came with ${entries.length}`)
  }
  const data = dtype === 'string' ? new Array<string>(count) : new typedArrays[dtype](count)
  const target = data as unknown[]
  const element = readers[dtype] ?? elementOf[dtype]
  for (let i = 0; i < count; i++) target[i] = read(element, entries[i], i)
  return { dtype, shape, data } as Tensor
}

function read(element: (value: unknown) => unknown, entry: unknown, i: number): unknown {
  try {
    return element(entry)
  } catch (error) {
    if (!(error instanceof ElementMismatch)) throw error
    throw new JsonTensorMismatch(`element ${i} must be ${error.message}; got ${showLeaf(entry)}`)
  }
}

const float16NaN = 0x7e00

/** What servers write otherwise than our own requests may. */
const readers: Partial<Record<DType, (value: unknown) => unknown>> = {
  float32: (value) => (value === null ? NaN : elementOf.float32(value)),
  float64: (value) => (value === null ? NaN : elementOf.float64(value)),
  float16: (value) => (value === null ? float16NaN : elementOf.float16(value)),
  bool: (value) => (value === 0 || value === 1 ? value : elementOf.bool(value)),
  string: (value) => {
    if (typeof value !== 'string') throw new ElementMismatch('a string')
    return value
  },
}
