import type { DType, Tensor } from '../../src/tensor/tensor.js'

/** Six elements of each type, with its extremes. */
const samples: { readonly [D in DType]: Extract<Tensor, { dtype: D }>['data'] } = {
  float32: Float32Array.of(1.5, -2, 0.1, Infinity, NaN, -0),
  float64: Float64Array.of(1.5, 5e-324, Number.MAX_VALUE, -Infinity, NaN, -0),
  float16: Uint16Array.of(0x3c01, 0x4000, 0x0001, 0x7c00, 0x7e00, 0x8000),
  int8: Int8Array.of(-128, -1, 0, 1, 2, 127),
  uint8: Uint8Array.of(0, 1, 2, 3, 254, 255),
  int16: Int16Array.of(-32768, -1, 0, 1, 2, 32767),
  uint16: Uint16Array.of(0, 1, 2, 3, 4, 65535),
  int32: Int32Array.of(-(2 ** 31), -1, 0, 1, 2, 2 ** 31 - 1),
  uint32: Uint32Array.of(0, 1, 2, 3, 4, 2 ** 32 - 1),
  int64: BigInt64Array.of(-(2n ** 63n), -1n, 0n, 1n, 2n ** 53n + 1n, 2n ** 63n - 1n),
  uint64: BigUint64Array.of(0n, 1n, 2n, 3n, 2n ** 53n + 1n, 2n ** 64n - 1n),
  bool: Uint8Array.of(0, 1, 1, 0, 0, 1),
  string: ['a', '', 'é\u{1f600}', ' ', '"\n', '0'],
}

export const dtypes = Object.keys(samples) as DType[]

/** Its six elements as [2, 3]. */
export function sampleOf(dtype: DType): Tensor {
  return { dtype, shape: [2, 3], data: samples[dtype].slice() } as Tensor
}

/** Finite ones alone, in the place of what JSON does not have. */
export function finiteSampleOf(dtype: DType): Tensor {
  const tensor = sampleOf(dtype)
  if (dtype === 'float32' || dtype === 'float64') (tensor.data as Float32Array).set([3, 4], 3)
  if (dtype === 'float16') (tensor.data as Uint16Array).set([0x7bff, 0xfbff], 3)
  return tensor
}
