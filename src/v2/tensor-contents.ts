import { typedArrays, type DType, type Tensor } from '../tensor/tensor.js'
import type { TensorContents } from './grpc-messages.js'
import { RawMismatch } from './raw-tensor.js'

/** The list of typed contents that holds a tensor's elements; float16 has none, and goes as raw bytes. */
const lists = {
  bool: 'bool_contents',
  int8: 'int_contents',
  int16: 'int_contents',
  int32: 'int_contents',
  int64: 'int64_contents',
  uint8: 'uint_contents',
  uint16: 'uint_contents',
  uint32: 'uint_contents',
  uint64: 'uint64_contents',
  float16: undefined,
  float32: 'fp32_contents',
  float64: 'fp64_contents',
  string: 'bytes_contents',
} as const satisfies Record<DType, keyof TensorContents | undefined>

/**
 * A tensor's elements, of as many as there are.
 * @throws RawMismatch where they stand in another list, or one is beyond the datatype's range
 */
export function elementsOf(dtype: DType, contents: Partial<TensorContents>): Tensor['data'] {
  const name = lists[dtype]
  if (name === undefined) throw new RawMismatch('FP16 has no typed contents: it goes as raw contents')
  const stray = Object.entries(contents).find(([other, list]) => other !== name && list.length > 0)
  if (stray !== undefined) throw new RawMismatch(`its contents are ${name}; got ${stray[0]}`)
  const list = contents[name] ?? []
  return dtype === 'string' ? [...(list as readonly string[])] : numbersOf(dtype, list as Numbers)
}

type Numbers = Exclude<Tensor['data'], string[]>

function numbersOf(dtype: Exclude<DType, 'string'>, list: Numbers): Numbers {
  const Type = typedArrays[dtype]
  // Every message without a list has the same empty one, and tensors are given away.
  if (list.length === 0) return new Type()
  if (list instanceof Type) return list
  // Only those of up to 32 bits are in lists of another type.
  const wide = Array.from(list as Int32Array)
  const narrow = new Type(wide.length) as Int8Array
  narrow.set(wide)
  const at = wide.findIndex((value, i) => value !== narrow[i])
  if (at === -1) return narrow
  throw new RawMismatch(`element ${at} is ${wide[at] ?? ''}, beyond the range of the datatype`)
}

/** A tensor's elements as typed contents; undefined for float16. */
export function contentsOf({ dtype, data }: Tensor): Partial<TensorContents> | undefined {
  const name = lists[dtype]
  if (name === undefined) return undefined
  if (name === 'int_contents') return { [name]: Int32Array.from(data as Int32Array) }
  if (name === 'uint_contents') return { [name]: Uint32Array.from(data as Uint32Array) }
  return { [name]: data }
}
