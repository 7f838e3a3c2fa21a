import { toFloat16 } from './float16.js'
import { elementCount, typedArrays, type Tensor } from './tensor.js'

/**
 * The tensor with an axis made longer, what is new filled with a value.
 * @param axis 1 or more
 * @param value a number; a text for texts
 */
export function padAxis(tensor: Tensor, axis: number, length: number, value: number | string): Tensor {
  return resizeAxis(tensor, axis, length, value)
}

/** The tensor with an axis cut to its first `length` entries. */
export function cutAxis(tensor: Tensor, axis: number, length: number): Tensor {
  return resizeAxis(tensor, axis, length, 0)
}

function resizeAxis(tensor: Tensor, axis: number, length: number, value: number | string): Tensor {
  const { dtype, shape, data } = tensor
  const before = shape[axis] ?? 0
  if (before === length) return tensor
  const inner = elementCount(shape.slice(axis + 1))
  const outer = elementCount(shape.slice(0, axis))
  const resized = [...shape.slice(0, axis), length, ...shape.slice(axis + 1)]
  const kept = Math.min(before, length) * inner
  if (dtype === 'string') {
    const texts: string[] = []
    for (let i = 0; i < outer; i++) {
      for (let j = 0; j < kept; j++) texts.push(data[i * before * inner + j] ?? '')
      for (let j = kept; j < length * inner; j++) texts.push(String(value))
    }
    return { dtype, shape: resized, data: texts }
  }
  const all = new typedArrays[dtype](elementCount(resized))
  if (length > before && value !== 0) all.fill(element(dtype, Number(value)) as never)
  for (let i = 0; i < outer; i++) {
    all.set(data.subarray(i * before * inner, i * before * inner + kept) as never, i * length * inner)
  }
  return { dtype, shape: resized, data: all } as Tensor
}

/** A number as an array of the dtype holds it. */
function element(dtype: Tensor['dtype'], value: number): number | bigint {
  if (dtype === 'float16') return toFloat16(value)
  return dtype === 'int64' || dtype === 'uint64' ? BigInt(value) : value
}
