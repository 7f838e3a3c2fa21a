import { elementCount, typedArrays, type DType, type Tensor } from '../../src/tensor/tensor.js'

const two53 = 2n ** 53n

/** Values of each type at its ends; floats have those that JSON can't carry apart. */
const values = {
  bool: [1, 0, 1],
  uint8: [0, 1, 255],
  uint16: [0, 1, 65_535],
  uint32: [0, 1, 4_294_967_295],
  uint64: [0n, two53 + 1n, 2n ** 64n - 1n],
  int8: [-128, 0, 127],
  int16: [-32_768, 0, 32_767],
  int32: [-2_147_483_648, 0, 2_147_483_647],
  int64: [-(2n ** 63n), two53 + 1n, 2n ** 63n - 1n],
  // The bits: 1, -2, the largest, the smallest.
  float16: [0x3c00, 0xc000, 0x7bff, 0x0001],
  float32: [0.1, -1e-45, 3.4028234663852886e38, 1 / 3, 16_777_216],
  float64: [0.1, -5e-324, Number.MAX_VALUE, 1 / 3, 2 ** 53],
  string: ['', 'a "quoted" line\n', 'Grüße', '日本語 🎉'],
} as const satisfies Record<DType, readonly (number | bigint | string)[]>

/** What no JSON has: NaN, the infinities, and zero below zero. */
const beyondJson: Partial<Record<DType, readonly number[]>> = {
  float16: [0x7e00, 0x7c00, 0xfc00, 0x8000],
  float32: [NaN, Infinity, -Infinity, -0],
  float64: [NaN, Infinity, -Infinity, -0],
}

/** A tensor of a shape, of values from its type's ends, repeated. */
export function sample(
  dtype: DType,
  shape: readonly number[],
  { json = false }: { readonly json?: boolean } = {},
): Tensor {
  const pool: readonly (number | bigint | string)[] = [
    ...values[dtype],
    ...(json ? [] : (beyondJson[dtype] ?? [])),
  ]
  const data = Array.from({ length: elementCount(shape) }, (_, i) => pool[i % pool.length])
  if (dtype === 'string') return { dtype, shape, data: data as string[] }
  return { dtype, shape, data: Reflect.construct(typedArrays[dtype], [data]) }
}

/** Float32 numbers between -1 and 1, the same at each run. */
export function numbers(shape: readonly number[], seed = 1): Tensor {
  let state = seed
  const data = Float32Array.from({ length: elementCount(shape) }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 30 - 1
  })
  return { dtype: 'float32', shape, data }
}
