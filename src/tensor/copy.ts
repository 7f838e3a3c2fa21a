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
export function copyTensor({ dtype, shape, data }: Untrusted, info: TensorInfo): Tensor {
  if (dtype !== info.dtype)
    throw mismatch(info, `got a tensor of ${isDType(dtype) ? dtype : showLeaf(dtype)}.`)
  if (!isShape(shape) || !fits(shape, info.shape)) {
    throw mismatch(info, `got a tensor of shape ${describeShape(shape.slice(0, 8).map(showLeaf))}.`)
  }
  const copied = info.dtype === 'string' ? copyStrings(data, info) : copyNumbers(data, info, info.dtype)
  const expected = elementCount(shape)
  if (copied.length !== expected) {
    const needs = `its shape ${describeShape(shape)} holds ${expected} values`
    throw mismatch(info, `${needs}; got ${copied.length}.`)
  }
  return { dtype: info.dtype, shape: [...shape], data: copied } as unknown as Tensor
}

function copyStrings(data: unknown, info: TensorInfo): unknown[] {
  if (!Array.isArray(data)) throw mismatch(info, `the tensor's data must be an array of strings.`)
  return data.map((value: unknown, i) => {
    try {
      return elementOf.string(value)
    } catch (error) {
      if (!(error instanceof ElementMismatch)) throw error
      throw mismatch(info, `the data at [${i}] must be ${error.message}; got ${showLeaf(value)}.`)
    }
  })
}

function copyNumbers(data: unknown, info: TensorInfo, dtype: Exclude<DType, 'string'>): ArrayLike<unknown> {
  const { name } = typedArrays[dtype]
  // By name, not by instanceof: an array of another realm (Jest, vm) is as good.
  if (!ArrayBuffer.isView(data) || Object.prototype.toString.call(data) !== `[object ${name}]`) {
    throw mismatch(info, `the tensor's data must be a ${name}.`)
  }
  const copy = copyOf(data as Uint8Array)
  if (dtype === 'bool' && copy.some((value) => value > 1)) {
    throw mismatch(info, 'the data of a bool tensor must be 0 or 1.')
  }
  return copy
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
