import { fromFloat16 } from '../tensor/float16.js'
import type { Tensor } from '../tensor/tensor.js'
import { datatypes } from './datatype.js'
import { toRaw } from './raw-tensor.js'

/** A tensor as a message has it. */
export interface TensorMessage {
  /** The JSON object of the tensor. */
  readonly json: string
  /** What is to follow the message's JSON, where the tensor's elements do not stand there. */
  readonly raw?: Uint8Array
}

/** @param isBinary whether its elements go as raw bytes, rather than as JSON */
export function tensorMessage(name: string, tensor: Tensor, isBinary: boolean): TensorMessage {
  const { dtype, shape } = tensor
  const head = `{"name":${JSON.stringify(name)},"datatype":"${datatypes[dtype]}","shape":[${shape.join(',')}],`
  if (!isBinary) return { json: `${head}"data":${elementsJson(tensor)}}` }
  const raw = toRaw(tensor)
  return { json: `${head}"parameters":{"binary_data_size":${raw.byteLength}}}`, raw }
}

/**
 * The elements as a flat list of JSON: 64-bit integers with all their digits, float16 as numbers, and null for what JSON
 * has no number for, NaN and the infinities.
 */
function elementsJson(tensor: Tensor): string {
  switch (tensor.dtype) {
    case 'string':
      return JSON.stringify(tensor.data)
    case 'bool':
      return `[${Array.from(tensor.data, (value) => value !== 0).join(',')}]`
    case 'float16':
      return floatsJson(Array.from(tensor.data, fromFloat16))
    case 'float32':
    case 'float64':
      return floatsJson(tensor.data)
    default:
      return `[${tensor.data.join(',')}]`
  }
}

function floatsJson(floats: ArrayLike<number>): string {
  const list: number[] = []
  let hasNegativeZero = false
  for (let i = 0; i < floats.length; i++) {
    const value = floats[i] ?? 0
    if (value === 0 && 1 / value < 0) hasNegativeZero = true
    list.push(value)
  }
  // JSON.stringify writes them without their sign.
  return hasNegativeZero ? `[${list.map(floatJson).join(',')}]` : JSON.stringify(list)
}

function floatJson(value: number): string {
  if (!Number.isFinite(value)) return 'null'
  return Object.is(value, -0) ? '-0' : String(value)
}
