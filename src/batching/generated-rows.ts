import { fromFloat16, toFloat16 } from '../tensor/float16.js'
import {
  elementCount,
  emptyLike,
  typedArrays,
  type DType,
  type Feeds,
  type Tensor,
  type TensorInfo,
} from '../tensor/tensor.js'

const words = ['alpha', 'beta gamma', 'delta epsilon zeta eta theta', 'iota kappa lambda']

/**
 * One row made up from what a model says of its inputs, the same for the same seed: floats about 0, small integers
 * that are not out of range where they stand for words, texts of several lengths.
 * @param length of each axis beyond the first that may vary
 */
export function generatedRow(inputs: readonly TensorInfo[], seed: number, length: number): Feeds {
  const next = random(seed + 1)
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }) => {
      const dims = dimsOf(shape, length)
      const count = elementCount(dims)
      const data =
        dtype === 'string'
          ? Array.from({ length: count }, (_, i) => words[(seed + i) % words.length] ?? '')
          : numbers(dtype, count, next)
      return [name, { dtype, shape: dims, data } as Tensor]
    }),
  )
}

/** Elements of a row that {@link generatedRow} makes. */
export function generatedElements(inputs: readonly TensorInfo[], length: number): number {
  return inputs.reduce((sum, { shape }) => sum + elementCount(dimsOf(shape, length)), 0)
}

function dimsOf(shape: TensorInfo['shape'], length: number): number[] {
  return [1, ...shape.slice(1).map((dim) => (typeof dim === 'number' ? dim : length))]
}

type NumericDType = Exclude<DType, 'string'>

function numbers(dtype: NumericDType, count: number, next: () => number): Tensor['data'] {
  const data = new typedArrays[dtype](count)
  for (let i = 0; i < count; i++) data[i] = element(dtype, next, i)
  return data
}

function element(dtype: NumericDType, next: () => number, i: number): number | bigint {
  switch (dtype) {
    case 'float32':
    case 'float64':
      return normal(next)
    case 'float16':
      return toFloat16(normal(next))
    case 'int64':
    case 'uint64':
      return BigInt(bit(next, i))
    // Indices are of 32 or 64 bits; of 8 and 16 are pixels, and what was quantised.
    case 'int8':
    case 'uint8':
    case 'int16':
    case 'uint16':
      return Math.floor(next() * 100)
    default:
      return bit(next, i)
  }
}

/** 1 at the front, so that no mask hides all. */
function bit(next: () => number, i: number): number {
  return i === 0 || next() < 0.5 ? 1 : 0
}

/** Of a variance of 1, as normal numbers, and far cheaper: an image has millions. */
function normal(next: () => number): number {
  return (next() + next() - 1) * Math.sqrt(6)
}

/** From 0 to 1, mulberry32. */
function random(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b9)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The row with its floats multiplied; other values stay, since few models take any of them. */
export function scaled(row: Feeds, factor: number): Feeds {
  if (factor === 1) return row
  const result = emptyLike<Tensor>(row)
  for (const [name, tensor] of Object.entries(row)) {
    if (tensor.dtype === 'float32' || tensor.dtype === 'float64')
      result[name] = { ...tensor, data: tensor.data.map((value) => value * factor) } as Tensor
    else if (tensor.dtype === 'float16')
      result[name] = { ...tensor, data: tensor.data.map((bits) => toFloat16(fromFloat16(bits) * factor)) }
    else result[name] = tensor
  }
  return result
}
