import { toFloat16 } from './float16.js'
import {
  describe,
  describeShape,
  elementCount,
  isDType,
  isTensorLike,
  typedArrays,
  type DType,
  type Tensor,
  type TensorInfo,
} from './tensor.js'

/** A value does not fit an input. The message says what was expected, what came, and what to send. */
export class ValueMismatch extends Error {}

type Leaf = (value: unknown) => unknown

/**
 * Makes a tensor of a plain value: a scalar, an array (nested or flat), a typed array, or a {@link Tensor}.
 * The result never shares memory with the value.
 *
 * With a batch axis, a value without it is one row; a value of the input's full rank is a batch of rows.
 * @throws ValueMismatch
 */
export function toTensor(value: unknown, info: TensorInfo, batched: boolean): Tensor {
  if (isTensorLike(value)) return copyTensor(value, info)
  const given = measure(value, info.shape.length)
  const shape = given && fitShape(given, info.shape, batched)
  if (given === undefined || shape === undefined) {
    const received = given === undefined ? `more than ${info.shape.length} nested lists` : describeGiven(given, value)
    throw mismatch(info, `got ${received}. ${whatToSend(info, batched)}`)
  }
  checkRectangular(value, given, info)
  return { dtype: info.dtype, shape, data: collect(value, given, info) } as Tensor
}

/** The lengths of nested lists, read along the first of each; undefined where there are more than `maxRank`. */
function measure(value: unknown, maxRank: number): number[] | undefined {
  const shape: number[] = []
  for (let level = value; isList(level); level = level[0]) {
    if (shape.length === maxRank) return undefined
    shape.push(level.length)
    if (level.length === 0 || ArrayBuffer.isView(level)) break
  }
  return shape
}

/** The tensor shape that a value of the shape `given` stands for, if any. */
function fitShape(given: number[], expected: TensorInfo['shape'], batched: boolean): number[] | undefined {
  const hasBatchAxis = batched || expected[0] === 1
  if (hasBatchAxis) {
    const row = expected.slice(1)
    if (fits(given, row)) return [1, ...given]
    if (isFixed(row) && given.length <= 1 && elementCount(given) === elementCount(row)) return [1, ...row]
  }
  if (fits(given, expected)) return given
  if (isFixed(expected) && given.length <= 1 && elementCount(given) === elementCount(expected)) return [...expected]
  return undefined
}

function fits(given: readonly number[], expected: TensorInfo['shape']): boolean {
  return (
    given.length === expected.length &&
    expected.every((dimension, i) => typeof dimension === 'string' || dimension === given[i])
  )
}

function isFixed(shape: TensorInfo['shape']): shape is number[] {
  return shape.every((dimension) => typeof dimension === 'number')
}

/**
 * Checks that all lists of a level are as long as the first, before anything is allocated for them: a ragged
 * value of a few bytes could else claim gigabytes. Recursion is bounded by the rank of `given`.
 */
function checkRectangular(node: unknown, given: readonly number[], info: TensorInfo, path: number[] = []): void {
  const length = given[path.length]
  if (length === undefined) return
  if (!isList(node) || node.length !== length) {
    const got = isList(node) ? `${node.length}` : showLeaf(node)
    throw mismatch(info, `${at('list', path)} must have ${length} entries like its neighbours; got ${got}.`)
  }
  if (path.length === given.length - 1) return
  for (let i = 0; i < length; i++) checkRectangular(node[i], given, info, [...path, i])
}

/** The elements of a rectangular value in row-major order, each checked. */
function collect(value: unknown, given: readonly number[], info: TensorInfo): Tensor['data'] {
  const count = elementCount(given)
  const data = info.dtype === 'string' ? new Array<string>(count) : new typedArrays[info.dtype](count)
  const target = data as unknown[]
  const leaf = leaves[info.dtype]
  let next = 0
  const visit = (node: unknown, depth: number): void => {
    if (depth === given.length) {
      try {
        target[next++] = leaf(node)
      } catch (error) {
        if (!(error instanceof LeafMismatch)) throw error
        throw mismatch(info, `${at('value', pathOf(next - 1, given))} must be ${error.message}; got ${showLeaf(node)}.`)
      }
    } else if (isList(node)) {
      for (let i = 0; i < node.length; i++) visit(node[i], depth + 1)
    }
  }
  visit(value, 0)
  return data
}

function at(what: string, path: readonly number[]): string {
  return path.length === 0 ? `the ${what}` : `the ${what} at [${path.join('][')}]`
}

/** The indexes of the element at a row-major offset. */
function pathOf(offset: number, shape: readonly number[]): number[] {
  return shape.map((dimension, i) => Math.floor(offset / elementCount(shape.slice(i + 1))) % dimension)
}

class LeafMismatch extends Error {}

const leaves: Record<DType, Leaf> = {
  float32: (value) => finite(value, Math.fround, 'float32'),
  float64: (value) => finite(value, (number) => number, 'float64'),
  float16: (value) => toFloat16(finite(value, (number) => (Math.abs(number) < 65520 ? number : Infinity), 'float16')),
  int8: integerLeaf(-128, 127),
  uint8: integerLeaf(0, 255),
  int16: integerLeaf(-32768, 32767),
  uint16: integerLeaf(0, 65535),
  int32: integerLeaf(-2147483648, 2147483647),
  uint32: integerLeaf(0, 4294967295),
  int64: bigintLeaf(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: bigintLeaf(0n, 2n ** 64n - 1n),
  bool: (value) => {
    if (typeof value !== 'boolean') throw new LeafMismatch('true or false')
    return value ? 1 : 0
  },
  string: (value) => {
    if (typeof value !== 'string') throw new LeafMismatch('a string')
    // The runtime would replace it silently, and answer for another text.
    if (loneSurrogate.test(value)) throw new LeafMismatch('well-formed text (it has half of a surrogate pair)')
    return value
  },
}

const loneSurrogate = /\p{Surrogate}/u

function finite(value: unknown, convert: (value: number) => number, dtype: DType): number {
  if (typeof value !== 'number') throw new LeafMismatch('a number')
  const converted = convert(value)
  if (!Number.isFinite(converted)) throw new LeafMismatch(`a finite number within the range of ${dtype}`)
  return converted
}

function integerLeaf(min: number, max: number): Leaf {
  return (value) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    throw new LeafMismatch(`an integer from ${min} to ${max}`)
  }
}

function bigintLeaf(min: bigint, max: bigint): Leaf {
  return (value) => {
    if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw new LeafMismatch('a bigint where it is beyond 2^53 (a number has lost digits already)')
    }
    const integer = typeof value === 'bigint' ? value : Number.isInteger(value) ? BigInt(value as number) : undefined
    if (integer === undefined || integer < min || integer > max) {
      throw new LeafMismatch(`an integer from ${min} to ${max}`)
    }
    return integer
  }
}

/**
 * Checks a tensor against an input and copies it.
 * @throws ValueMismatch
 */
export function copyTensor(tensor: Tensor, info: TensorInfo): Tensor {
  const { dtype, shape, data } = tensor
  if (!isDType(dtype) || dtype !== info.dtype) throw mismatch(info, `got a tensor of ${String(dtype)}.`)
  if (!shape.every((dimension) => Number.isInteger(dimension) && dimension >= 0) || !fits(shape, info.shape)) {
    throw mismatch(info, `got a tensor of shape ${describeShape(shape)}.`)
  }
  const isString = dtype === 'string'
  if (isString ? !Array.isArray(data) : !isTypedArray(data, dtype)) {
    const wanted = isString ? 'an array of strings' : `a ${typedArrays[dtype].name}`
    throw mismatch(info, `the tensor's data must be ${wanted}.`)
  }
  if (data.length !== elementCount(shape)) {
    throw mismatch(info, `its shape ${describeShape(shape)} holds ${elementCount(shape)} values; got ${data.length}.`)
  }
  if (isString) return { ...tensor, data: collect(data, [data.length], info) } as Tensor
  if (dtype === 'bool' && data.some((value) => Number(value) > 1)) {
    throw mismatch(info, 'the data of a bool tensor must be 0 or 1.')
  }
  return { dtype, shape: [...shape], data: data.slice() } as Tensor
}

/** By name, not by instanceof: an array of another realm (Jest, vm) is as good. */
function isTypedArray(data: unknown, dtype: Exclude<DType, 'string'>): boolean {
  return ArrayBuffer.isView(data) && Object.prototype.toString.call(data) === `[object ${typedArrays[dtype].name}]`
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value)
}

function mismatch(info: TensorInfo, rest: string): ValueMismatch {
  return new ValueMismatch(`input "${info.name}" expects ${describe(info)}; ${rest}`)
}

function describeGiven(given: readonly number[], value: unknown): string {
  return given.length === 0 ? showLeaf(value) : describeShape(given)
}

function showLeaf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 37)}...` : value)
  if (typeof value === 'bigint') return `${value}`
  if (isList(value)) return `a list of ${value.length}`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

function whatToSend(info: TensorInfo, batched: boolean): string {
  const row = batched ? info.shape.slice(1) : info.shape
  const unit = info.dtype === 'string' ? 'string' : info.dtype === 'bool' ? 'boolean' : 'number'
  const a = batched ? ' a row' : ''
  if (isFixed(row)) {
    const count = elementCount(row)
    const nested = row.length > 1 ? `, flat or nested as ${describeShape(row)}` : ''
    return `Send ${count} ${unit}${count === 1 ? '' : 's'}${a}${nested}.`
  }
  return `Send ${unit}s nested as ${describeShape(row)}${a}.`
}
