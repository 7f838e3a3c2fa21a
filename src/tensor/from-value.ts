import { copyTensor, fits } from './copy.js'
import { ElementMismatch, elementOf } from './element.js'
import { mismatch, showLeaf } from './mismatch.js'
import {
  describeShape,
  elementCount,
  isTensorLike,
  typedArrays,
  type Tensor,
  type TensorInfo,
} from './tensor.js'

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
    const received =
      given === undefined ? `more than ${info.shape.length} nested lists` : describeGiven(given, value)
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
  if (isFixed(expected) && given.length <= 1 && elementCount(given) === elementCount(expected))
    return [...expected]
  return undefined
}

function isFixed(shape: TensorInfo['shape']): shape is number[] {
  return shape.every((dimension) => typeof dimension === 'number')
}

/**
 * Checks that all lists of a level are as long as the first, before anything is allocated for them: a ragged
 * value of a few bytes could else claim gigabytes. Recursion is bounded by the rank of `given`.
 */
function checkRectangular(
  node: unknown,
  given: readonly number[],
  info: TensorInfo,
  path: number[] = [],
): void {
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
  const element = elementOf[info.dtype]
  let next = 0
  const visit = (node: unknown, depth: number): void => {
    if (depth === given.length) {
      try {
        target[next++] = element(node)
      } catch (error) {
        if (!(error instanceof ElementMismatch)) throw error
        throw mismatch(
          info,
          `${at('value', pathOf(next - 1, given))} must be ${error.message}; got ${showLeaf(node)}.`,
        )
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

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value)
}

function describeGiven(given: readonly number[], value: unknown): string {
  return given.length === 0 ? showLeaf(value) : describeShape(given)
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
