/**
 * Writes ONNX models, as protobuf bytes. It shares nothing with `src/execution/protobuf.ts`, so that a test of the
 * reader can't pass because both sides have the same mistake.
 */

/** ONNX's TensorProto.DataType, by onnxruntime's names. */
export const ELEM_TYPE = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e4m3fnuz: 18,
  float8e5m2: 19,
  float8e5m2fnuz: 20,
  uint4: 21,
  int4: 22,
  float4e2m1: 23,
  float8e8m0: 24,
  uint2: 25,
  int2: 26,
} as const

export type ElemType = keyof typeof ELEM_TYPE

/** A size, a symbolic name, or `''` for an unnamed dynamic dimension. */
export type Dim = number | string

/** A protobuf message or field, encoded. */
export type Encoded = Uint8Array

/** A field's value: text and messages are delimited, numbers are varints. */
type FieldValue = string | number | bigint | Encoded

const encoder = new TextEncoder()

/** Joins encoded fields to a message, and bytes in general. */
export function concat(parts: readonly Encoded[]): Encoded {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** One field of a message, or a field of its own for each value of an array. */
export function field(number: number, value: FieldValue | readonly FieldValue[] | undefined): Encoded {
  if (value === undefined) return new Uint8Array()
  if (Array.isArray(value)) return concat((value as FieldValue[]).map((single) => field(number, single)))
  if (typeof value === 'number' || typeof value === 'bigint') {
    return concat([varint(number * 8), varint(value)])
  }
  const bytes = value instanceof Uint8Array ? value : encoder.encode(value as string)
  return concat([varint(number * 8 + 2), varint(bytes.length), bytes])
}

function floatField(number: number, value: number): Encoded {
  return concat([varint(number * 8 + 5), littleEndian(Float32Array.of(value))])
}

function varint(value: number | bigint): Encoded {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

/** The bytes of a typed array: raw_data's form, on the little-endian machines that onnxruntime-node runs on. */
function littleEndian(array: ArrayBufferView): Encoded {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

/** A named constant: numbers as raw bytes in the form of `elemType`, or strings. */
export function tensor(
  name: string,
  elemType: ElemType,
  dims: readonly number[],
  data: ArrayBufferView | readonly string[],
): Encoded {
  return concat([
    field(1, dims),
    field(2, ELEM_TYPE[elemType]),
    ArrayBuffer.isView(data) ? field(9, littleEndian(data)) : field(6, data),
    field(8, name),
  ])
}

/** A float32 constant. */
export function float32(name: string, dims: readonly number[], data: ArrayLike<number>): Encoded {
  return tensor(name, 'float32', dims, Float32Array.from(data))
}

/** An int64 constant; of dims [] it is a scalar. */
export function int64(name: string, dims: readonly number[], data: readonly number[]): Encoded {
  return tensor(name, 'int64', dims, BigInt64Array.from(data, BigInt))
}

/** A constant whose numbers are in another file. */
export function externalTensor(
  name: string,
  elemType: ElemType,
  dims: readonly number[],
  location: string,
): Encoded {
  return concat([
    field(1, dims),
    field(2, ELEM_TYPE[elemType]),
    field(8, name),
    field(13, entry('location', location)),
    field(14, 1),
  ])
}

/** A tensor's type; no `dims` leaves its rank open. */
export function tensorType(elemType: ElemType, dims?: readonly Dim[]): Encoded {
  const shape = dims?.map((dim) =>
    field(1, typeof dim === 'number' ? field(1, dim) : field(2, dim || undefined)),
  )
  return field(1, concat([field(1, ELEM_TYPE[elemType]), field(2, shape && concat(shape))]))
}

export function sequenceType(element: Encoded): Encoded {
  return field(4, field(1, element))
}

export function mapType(key: ElemType, value: Encoded): Encoded {
  return field(5, concat([field(1, ELEM_TYPE[key]), field(2, value)]))
}

export function optionalType(element: Encoded): Encoded {
  return field(9, field(1, element))
}

/** An input, output or inner value of a graph with its type. */
export function value(name: string, type?: Encoded): Encoded {
  return concat([field(1, name), field(2, type)])
}

/** A value that is a tensor. */
export function tensorValue(name: string, elemType: ElemType, dims?: readonly Dim[]): Encoded {
  return value(name, tensorType(elemType, dims))
}

/** An operator's parameter; the kind has to be said, since 1 may be an int as well as a float. */
export type Attribute =
  | { readonly int: number | bigint }
  | { readonly ints: readonly (number | bigint)[] }
  | { readonly packedInts: readonly (number | bigint)[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly tensor: Encoded }
  | { readonly graph: Encoded }

function attribute(name: string, content: Attribute): Encoded {
  return concat([field(1, name), ...attributeContent(content)])
}

/** The content's field, and the number of its kind in field 20. */
function attributeContent(content: Attribute): Encoded[] {
  if ('float' in content) return [floatField(2, content.float), field(20, 1)]
  if ('int' in content) return [field(3, content.int), field(20, 2)]
  if ('string' in content) return [field(4, content.string), field(20, 3)]
  if ('tensor' in content) return [field(5, content.tensor), field(20, 4)]
  if ('graph' in content) return [field(6, content.graph), field(20, 5)]
  if ('floats' in content) return [...content.floats.map((float) => floatField(7, float)), field(20, 6)]
  if ('ints' in content) return [field(8, content.ints), field(20, 7)]
  if ('packedInts' in content) return [field(8, concat(content.packedInts.map(varint))), field(20, 7)]
  return [field(9, content.strings), field(20, 8)]
}

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>
  /** Of the operator; the standard operators' by default. */
  readonly domain?: string
  readonly name?: string
}

/** An operator. An input of '' is one left out. */
export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  { attributes = {}, domain, name }: NodeOptions = {},
): Encoded {
  return concat([
    field(1, inputs),
    field(2, outputs),
    field(3, name),
    field(4, opType),
    ...Object.entries(attributes).map(([key, content]) => field(5, attribute(key, content))),
    field(7, domain),
  ])
}

export interface GraphContent {
  readonly nodes: readonly Encoded[]
  readonly inputs: readonly Encoded[]
  readonly outputs: readonly Encoded[]
  readonly initializers?: readonly Encoded[]
  /** Types of inner values. */
  readonly values?: readonly Encoded[]
}

export function graph({ nodes, inputs, outputs, initializers = [], values = [] }: GraphContent): Encoded {
  return concat([
    field(1, nodes),
    field(2, 'graph'),
    field(5, initializers),
    field(11, inputs),
    field(12, outputs),
    field(13, values),
  ])
}

export interface ModelOptions {
  readonly irVersion?: number
  readonly producer?: string
  /** Versions of operator sets by domain; '' is the standard operators'. */
  readonly opsets?: Readonly<Record<string, number>>
  /** metadata_props. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** A whole model, the content of an .onnx file. */
export function model(
  content: GraphContent,
  { irVersion = 8, producer = 'mlserving-test', opsets = { '': 17 }, metadata = {} }: ModelOptions = {},
): Encoded {
  return concat([
    field(1, irVersion),
    field(2, producer),
    field(7, graph(content)),
    ...Object.entries(opsets).map(([domain, version]) =>
      field(8, concat([field(1, domain), field(2, version)])),
    ),
    ...Object.entries(metadata).map(([key, text]) => field(14, entry(key, text))),
  ])
}

function entry(key: string, text: string): Encoded {
  return concat([field(1, key), field(2, text)])
}
