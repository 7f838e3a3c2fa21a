import { elementCount, typedArrays, type DType, type Tensor } from '../tensor/tensor.js'
import type { TensorContents } from './grpc-messages.js'
import { RawMismatch } from './raw-tensor.js'

/** The list of a tensor's contents that holds its elements; float16 has none, and goes as raw bytes. */
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
  float32: 'fp32_contents',
  float64: 'fp64_contents',
  string: 'bytes_contents',
} as const satisfies Partial<Record<DType, keyof TensorContents>>

/**
 * The tensor of typed contents.
 * @param shape without negative or fractional dimensions
 * @throws RawMismatch
 */
export function fromContents(
  dtype: DType,
  shape: readonly number[],
  contents: Partial<TensorContents>,
): Tensor {
  const name = listOf(dtype)
  if (name === undefined) throw new RawMismatch('FP16 has no typed contents: send raw_input_contents')
  for (const [other, list] of Object.entries(contents))
    if (other !== name && list.length > 0) throw new RawMismatch(`the contents are ${name}; got ${other}`)
  const list = contents[name] ?? []
  const count = elementCount(shape)
  if (list.length !== count)
    throw new RawMismatch(`${count} elements are expected in ${name}; got ${list.length}`)
  return { dtype, shape, data: elementsOf(dtype, list) } as Tensor
}

/** A tensor's elements as typed contents; undefined for float16. */
export function toContents({ dtype, data }: Tensor): Partial<TensorContents> | undefined {
  const name = listOf(dtype)
  if (name === undefined) return undefined
  if (name === 'int_contents') return { [name]: Int32Array.from(data as Int32Array) }
  if (name === 'uint_contents') return { [name]: Uint32Array.from(data as Uint32Array) }
  return { [name]: data }
}

function listOf(dtype: DType): (typeof lists)[keyof typeof lists] | undefined {
  return dtype === 'float16' ? undefined : lists[dtype]
}

function elementsOf(dtype: DType, list: TensorContents[keyof TensorContents] | readonly []): Tensor['data'] {
  if (dtype === 'string') {
    const texts = list as readonly string[]
    const cut = texts.findIndex((text) => text.includes('\0'))
    if (cut === -1) return [...texts]
    throw new RawMismatch(`element ${cut} of BYTES holds a zero byte, where the runtime would cut it`)
  }
  const Type = typedArrays[dtype]
  if (list instanceof Type) return list
  // Only those of up to 32 bits are in lists of another type, all of numbers.
  const wide = Array.from(list as Int32Array)
  const narrow = new Type(wide.length) as Int8Array
  narrow.set(wide)
  const at = wide.findIndex((value, i) => value !== narrow[i])
  if (at !== -1) throw new RawMismatch(`element ${at} is ${wide[at] ?? ''}, beyond the range of the datatype`)
  return narrow
}
