import { copyTensor, fits } from './copy.js'
import { ElementMismatch, elementOf } from './element.js'
import { mismatch, showLeaf } from './mismatch.js'
import { slabArray } from './slab.js'
import {
  copyOf,
  describeShape,
  elementCount,
  isTensorLike,
  typedArrays,
  type Tensor,
  type TensorInfo,
} from './tensor.js'

/**
 * Makes tensors for one input of plain values: a scalar, an array (nested or flat), a typed array, or a
 * {@link Tensor}. What it makes never shares memory with the value.
 *
 * With a batch axis, a value without it is one row; a value of the input's full rank is a batch of rows.
 */
export class TensorReader {
  /** The shape beyond the batch axis, where there is one. */
  readonly #row: TensorInfo['shape'] | undefined
  /** Elements of a row, and of the whole, where no dimension varies. */
  readonly #rowCount: number | undefined
  readonly #wholeCount: number | undefined

  constructor(
    readonly info: TensorInfo,
    private readonly batched: boolean,
  ) {
    const hasBatchAxis = batched || info.shape[0] === 1
    this.#row = hasBatchAxis ? info.shape.slice(1) : undefined
    this.#rowCount = this.#row && isFixed(this.#row) ? elementCount(this.#row) : undefined
    this.#wholeCount = isFixed(info.shape) ? elementCount(info.shape) : undefined
  }

  /**
   * @param borrow whether the tensor may have the value's own typed array: for who copies it before the caller can
   *   change it
   * @throws ValueMismatch
   */
  read(value: unknown, borrow = false): Tensor {
    const { info, batched } = this
    if (isTensorLike(value)) return copyTensor(value, info)
    const given = measure(value, info.shape.length)
    const shape = given && this.#fitShape(given)
    if (given === undefined || shape === undefined) {
      const received =
        given === undefined ? `more than ${info.shape.length} nested lists` : describeGiven(given, value)
      throw mismatch(info, `got ${received}. ${whatToSend(info, batched)}`)
    }
    const typed = typedOf(value, info)
    const data = typed === undefined ? collect(value, given, info) : borrow ? typed : copyOf(typed)
    return { dtype: info.dtype, shape, data } as Tensor
  }

  /** The tensor shape that a value of the shape `given` stands for, if any. */
  #fitShape(given: number[]): number[] | undefined {
    const { shape } = this.info
    const isFlat = given.length <= 1
    if (this.#row !== undefined) {
      if (fits(given, this.#row)) return given.length === 1 ? [1, given[0] ?? 0] : [1, ...given]
      if (isFlat && this.#rowCount !== undefined && elementCount(given) === this.#rowCount)
        return [1, ...(this.#row as number[])]
    }
    if (fits(given, shape)) return given
    if (isFlat && this.#wholeCount !== undefined && elementCount(given) === this.#wholeCount)
      return [...(shape as number[])]
    return undefined
  }
}

/** A tensor of one value. @throws ValueMismatch */
export function toTensor(value: unknown, info: TensorInfo, batched: boolean): Tensor {
  return new TensorReader(info, batched).read(value)
}

/** The lengths of nested lists, read along the first of each; undefined where there are more than `maxRank`. */
function measure(value: unknown, maxRank: number): number[] | undefined {
  if (maxRank > 0 && ArrayBuffer.isView(value) && 'length' in value) return [value.length as number]
  const shape: number[] = []
  for (let level = value; isList(level); level = level[0]) {
    if (shape.length === maxRank) return undefined
    shape.push(level.length)
    if (level.length === 0 || ArrayBuffer.isView(level)) break
  }
  return shape
}

function isFixed(shape: TensorInfo['shape']): shape is number[] {
  return shape.every((dimension) => typeof dimension === 'number')
}

type NumericData = Exclude<Tensor['data'], string[]>

/** A value that is a typed array of the input's own dtype, all of whose elements JSON could have brought. */
function typedOf(value: unknown, { dtype }: TensorInfo): NumericData | undefined {
  // Bytes are no booleans, and no patterns of float16: those are read, and refused, one by one.
  if (dtype === 'string' || dtype === 'float16' || dtype === 'bool' || !ArrayBuffer.isView(value))
    return undefined
  // By name, not by instanceof: an array of another realm is as good.
  if ((value as Uint8Array)[Symbol.toStringTag] !== typedArrays[dtype].name) return undefined
  const isFloat = dtype === 'float32' || dtype === 'float64'
  return isFloat && !isFinite(value as Float32Array) ? undefined : (value as NumericData)
}

/** By a sum of products with zero, which are NaN for what is not finite: no branch an element. */
function isFinite(data: Float32Array | Float64Array): boolean {
  let sum = 0
  for (let i = 0; i < data.length; i++) sum += (data[i] ?? 0) * 0
  return sum === 0
}

/**
 * The elements of nested lists in row-major order, each checked; all lists of a level must be as long as the first.
 * That is checked before anything is allocated for them: a ragged value of a few bytes could else claim gigabytes.
 */
function collect(value: unknown, given: readonly number[], info: TensorInfo): Tensor['data'] {
  checkRectangular(value, given, 0, info, [])
  const count = elementCount(given)
  const { dtype } = info
  if (dtype === 'float32' || dtype === 'float64') {
    const floats = slabArray<Float32Array | Float64Array>(typedArrays[dtype], count)
    if (fillNumbers(floats, value, given.length)) return floats
  }
  const data = dtype === 'string' ? new Array<string>(count) : new typedArrays[dtype](count)
  const target = data as unknown[]
  const element = elementOf[dtype]
  let next = 0
  const fill = (node: unknown, depth: number): void => {
    if (depth < given.length && isList(node)) for (let i = 0; i < node.length; i++) fill(node[i], depth + 1)
    else target[next++] = element(node)
  }
  try {
    fill(value, 0)
  } catch (error) {
    if (!(error instanceof ElementMismatch)) throw error
    const path = pathOf(next - 1, given)
    throw mismatch(
      info,
      `${at('value', path)} must be ${error.message}; got ${showLeaf(elementAt(value, path))}.`,
    )
  }
  return data
}

/**
 * Fills an array with the numbers of lists nested `depth` deep: what nearly every input is made of, and is read several
 * times as fast as by elements of any kind.
 * @returns whether they all are numbers, finite ones as what they become
 */
function fillNumbers(data: Float32Array | Float64Array, value: unknown, depth: number): boolean {
  let next = 0
  const fill = (list: unknown, levels: number): boolean => {
    if (!Array.isArray(list)) return false
    const entries: readonly unknown[] = list
    if (levels > 1) return entries.every((entry) => fill(entry, levels - 1))
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]
      if (typeof entry !== 'number') return false
      data[next++] = entry
    }
    return true
  }
  return depth > 0 && fill(value, depth) && isFinite(data)
}

/** Recursion is bounded by the rank of `given`; `path` is where `node` is. */
function checkRectangular(
  node: unknown,
  given: readonly number[],
  depth: number,
  info: TensorInfo,
  path: number[],
): void {
  const length = given[depth]
  if (length === undefined) return
  if (!isList(node) || node.length !== length) {
    const got = isList(node) ? `${node.length}` : showLeaf(node)
    throw mismatch(info, `${at('list', path)} must have ${length} entries like its neighbours; got ${got}.`)
  }
  if (depth === given.length - 1) return
  for (let i = 0; i < length; i++) {
    path.push(i)
    checkRectangular(node[i], given, depth + 1, info, path)
    path.pop()
  }
}

function elementAt(value: unknown, path: readonly number[]): unknown {
  return path.reduce<unknown>((node, i) => (isList(node) ? node[i] : node), value)
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
