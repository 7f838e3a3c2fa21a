/** Element types by the names onnxruntime gives them, and the array that holds each. */
export interface DTypes {
  float32: Float32Array
  float64: Float64Array
  /** IEEE 754 binary16 bit patterns. */
  float16: Uint16Array
  int8: Int8Array
  uint8: Uint8Array
  int16: Int16Array
  uint16: Uint16Array
  int32: Int32Array
  uint32: Uint32Array
  int64: BigInt64Array
  uint64: BigUint64Array
  /** One byte an element, 0 or 1. */
  bool: Uint8Array
  string: string[]
}

export type DType = keyof DTypes

/** A plain, dense, row-major tensor. `shape` has no negative and no unknown dimension; `data.length` is its product. */
export type Tensor<D extends DType = DType> = {
  [K in D]: { readonly dtype: K; readonly shape: readonly number[]; readonly data: DTypes[K] }
}[D]

/** Tensors by input (or output) name. */
export type Feeds = Readonly<Record<string, Tensor>>

/**
 * An empty object for values by name. Without a prototype only where a name could be taken for one, since such an
 * object is slow to read.
 */
export function emptyRecord<T>(needsNoPrototype: boolean): Record<string, T> {
  return needsNoPrototype ? (Object.create(null) as Record<string, T>) : {}
}

/** An empty object for values by the names of another. */
export function emptyLike<T>(record: object): Record<string, T> {
  return emptyRecord(Object.getPrototypeOf(record) === null)
}

/** What a model says of one of its inputs or outputs. A dimension that may vary is its symbolic name, or ''. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly (number | string)[]
}

/** The array constructor of each numeric dtype. */
export const typedArrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const

const { slice } = Object.getPrototypeOf(Uint8Array.prototype) as {
  slice: (from?: number, to?: number) => unknown
}

/** Elements `from` to `to` of an array in memory of their own; a Buffer's own `slice` would share its memory. */
export function copyOf<D extends Tensor['data']>(data: D, from?: number, to?: number): D {
  return (Array.isArray(data) ? data.slice(from, to) : slice.call(data, from, to)) as D
}

export function isDType(name: unknown): name is DType {
  return name === 'string' || (typeof name === 'string' && Object.hasOwn(typedArrays, name))
}

/** The number of elements of a shape: 1 for a scalar's `[]`. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

/** True for a value that has the form of a {@link Tensor}; says nothing of whether its parts agree. */
export function isTensorLike(value: unknown): value is Tensor {
  return (
    typeof value === 'object' &&
    value !== null &&
    'dtype' in value &&
    'shape' in value &&
    'data' in value &&
    Array.isArray(value.shape)
  )
}

/** `float32 [batch, 30]`: how a message speaks of an input or output. */
export function describe(info: Pick<TensorInfo, 'dtype' | 'shape'>): string {
  return `${info.dtype} ${describeShape(info.shape)}`
}

export function describeShape(shape: readonly (number | string)[]): string {
  return `[${shape.map((d) => (d === '' ? '?' : d)).join(', ')}]`
}

/**
 * A string tensor; its shape is `[values.length]` unless given.
 * @throws RangeError when the shape's product is not the number of values.
 */
export function strings(values: readonly string[], shape?: readonly number[]): Tensor<'string'> {
  return { dtype: 'string', ...sized(Array.from(values), shape) }
}

/** A float32 tensor; its shape is `[values.length]` unless given. Values are copied. */
export function float32(values: ArrayLike<number>, shape?: readonly number[]): Tensor<'float32'> {
  return { dtype: 'float32', ...sized(Float32Array.from(values), shape) }
}

/** An int64 tensor; its shape is `[values.length]` unless given. Values are copied; numbers must be integers. */
export function int64(values: ArrayLike<number | bigint>, shape?: readonly number[]): Tensor<'int64'> {
  return { dtype: 'int64', ...sized(BigInt64Array.from(Array.from(values, BigInt)), shape) }
}

function sized<A extends ArrayLike<unknown>>(data: A, shape: readonly number[] = [data.length]) {
  if (elementCount(shape) !== data.length) {
    throw new RangeError(
      `a tensor of shape ${describeShape(shape)} holds ${elementCount(shape)} values; got ${data.length}`,
    )
  }
  return { shape: [...shape], data }
}
