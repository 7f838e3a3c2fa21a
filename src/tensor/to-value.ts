import { fromFloat16 } from './float16.js'
import { elementCount, type Tensor } from './tensor.js'

/**
 * A tensor as plain values: a scalar for rank 0, else nested arrays. 64-bit integers are numbers where a number
 * holds them exactly, else bigints; booleans are booleans; float16 is numbers.
 *
 * @param shape another of as many elements. Default: the tensor's own.
 */
export function toValue(tensor: Tensor, shape = tensor.shape): unknown {
  const values = elements(tensor)
  // What a list was made for needs no second one; strings are the tensor's own.
  return shape.length === 1 && tensor.dtype !== 'string' ? values : nest(values, shape, 0, 0)
}

/** Row `index` of a tensor with a batch axis, sharing its memory. */
export function rowOf(tensor: Tensor, index: number): Tensor {
  const shape = tensor.shape.slice(1)
  const size = elementCount(shape)
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

/**
 * As Array.from, which goes through an iterator, and takes several times as long for it. One after the other, so that the
 * list has no holes: JSON.stringify is then a quarter faster.
 */
function listOf(data: ArrayLike<number>): number[] {
  const list: number[] = []
  for (let i = 0; i < data.length; i++) list.push(data[i] ?? 0)
  return list
}

function exact(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** The values from `offset` on, nested as the shape from dimension `axis` on. */
function nest(values: readonly unknown[], shape: readonly number[], axis: number, offset: number): unknown {
  const length = shape[axis]
  if (length === undefined) return values[offset]
  if (axis === shape.length - 1) return values.slice(offset, offset + length)
  const stride = elementCount(shape.slice(axis + 1))
  return Array.from({ length }, (_, i) => nest(values, shape, axis + 1, offset + i * stride))
}
