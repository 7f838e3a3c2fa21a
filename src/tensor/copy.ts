import { ElementMismatch, elementOf } from './element.js'
import { mismatch, showLeaf } from './mismatch.js'
import {
  copyOf,
  describeShape,
  elementCount,
  isDType,
  typedArrays,
  type DType,
  type Tensor,
  type TensorInfo,
} from './tensor.js'

/** What has the form of a tensor, before its parts are checked. */
interface Untrusted {
  readonly dtype: unknown
  readonly shape: readonly unknown[]
  readonly data: unknown
}

/**
 * Checks a tensor against an input and copies it.
 * @throws ValueMismatch
 */
export function copyTensor(tensor: Untrusted, info: TensorInfo): Tensor {
  const { dtype, shape, data } = checkedTensor(tensor, info)
  return { dtype, shape: [...shape], data: copyOf(data) } as Tensor
}

/**
 * A tensor that fits an input, with the very array that it came with.
 * @throws ValueMismatch
 */
export function checkedTensor({ dtype, shape, data }: Untrusted, info: TensorInfo): Tensor {
  if (dtype !== info.dtype)
    throw mismatch(info, `got a tensor of ${isDType(dtype) ? dtype : showLeaf(dtype)}.`)
  if (!isShape(shape) || !fits(shape, info.shape)) {
    throw mismatch(info, `got a tensor of shape ${describeShape(shape.slice(0, 8).map(showLeaf))}.`)
  }
  const length = info.dtype === 'string' ? checkStrings(data, info) : checkNumbers(data, info, info.dtype)
  const expected = elementCount(shape)
  if (length !== expected) {
    const needs = `its shape ${describeShape(shape)} holds ${expected} values`
    throw mismatch(info, `${needs}; got ${length}.`)
  }
  return { dtype: info.dtype, shape, data } as Tensor
}

/** @returns how many there are */
function checkStrings(data: unknown, info: TensorInfo): number {
  if (!Array.isArray(data)) throw mismatch(info, `the tensor's data must be an array of strings.`)
  // By index: a list with holes would skip them.
  for (let i = 0; i < data.length; i++) {
    try {
      elementOf.string(data[i])
    } catch (error) {
      if (!(error instanceof ElementMismatch)) throw error
      throw mismatch(info, `the data at [${i}] must be ${error.message}; got ${showLeaf(data[i])}.`)
    }
  }
  return data.length
}

/** @returns how many there are */
function checkNumbers(data: unknown, info: TensorInfo, dtype: Exclude<DType, 'string'>): number {
  const { name } = typedArrays[dtype]
  // By name, not by instanceof: an array of another realm (Jest, vm) is as good.
  if (!ArrayBuffer.isView(data) || Object.prototype.toString.call(data) !== `[object ${name}]`) {
    throw mismatch(info, `the tensor's data must be a ${name}.`)
  }
  const numbers = data as Uint8Array
  if (dtype === 'bool' && numbers.some((value) => value > 1)) {
    throw mismatch(info, 'the data of a bool tensor must be 0 or 1.')
  }
  return numbers.length
}

function isShape(shape: readonly unknown[]): shape is readonly number[] {
  return shape.every((dimension) => Number.isInteger(dimension) && Number(dimension) >= 0)
}

/** True where a shape is one that `expected` allows. */
export function fits(shape: readonly number[], expected: TensorInfo['shape']): boolean {
  return (
    shape.length === expected.length &&
    expected.every((dimension, i) => typeof dimension === 'string' || dimension === shape[i])
  )
}
