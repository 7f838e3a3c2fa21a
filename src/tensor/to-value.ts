import { fromFloat16 } from './float16.js'
import type { Tensor } from './tensor.js'

/**
 * A tensor as plain values: a scalar for rank 0, else nested arrays. 64-bit integers are numbers where a number
 * holds them exactly, else bigints; booleans are booleans; float16 is numbers.
 */
export function toValue(tensor: Tensor): unknown {
  return nest(elements(tensor), tensor.shape, 0)
}

/** Row `index` of a tensor with a batch axis, sharing its memory. */
export function rowOf(tensor: Tensor, index: number): Tensor {
  const shape = tensor.shape.slice(1)
  const size = shape.reduce((product, dimension) => product * dimension, 1)
  const [start, end] = [index * size, (index + 1) * size]
  const data = tensor.dtype === 'string' ? tensor.data.slice(start, end) : tensor.data.subarray(start, end)
  return { dtype: tensor.dtype, shape, data } as Tensor
}

function elements(tensor: Tensor): unknown[] {
  switch (tensor.dtype) {
    case 'string':
      return tensor.data
    case 'bool':
      return Array.from(tensor.data, (value) => value !== 0)
    case 'float16':
      return Array.from(tensor.data, fromFloat16)
    case 'int64':
    case 'uint64':
      return Array.from<bigint, number | bigint>(tensor.data, exact)
    default:
      return listOf(tensor.data)
  }
}

/** As Array.from, which goes through an iterator, and takes ten times as long for it. */
function listOf(data: ArrayLike<number>): number[] {
  const list = new Array<number>(data.length)
  for (let i = 0; i < list.length; i++) list[i] = data[i] ?? 0
  return list
}

function exact(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function nest(values: readonly unknown[], shape: readonly number[], offset: number): unknown {
  const [length, ...inner] = shape
  if (length === undefined) return values[offset]
  if (inner.length === 0) return values.slice(offset, offset + length)
  const stride = inner.reduce((product, dimension) => product * dimension, 1)
  return Array.from({ length }, (_, i) => nest(values, inner, offset + i * stride))
}
