import type { Field } from './field.js'
import { MalformedMessage } from './malformed-message.js'
import type { Reader } from './reader.js'
import { wire, type Wire } from './wire.js'
import { delimitedSize, varintSize, type Writer } from './writer.js'

/**
 * Lists of numbers, packed or one by one, as typed arrays: what a message takes of memory is at most eight times its bytes.
 * They rely on little-endian machines, as do tensors' raw bytes.
 */

type Numbers =
  Uint8Array | Int32Array | Uint32Array | BigInt64Array | BigUint64Array | Float32Array | Float64Array

/** Memory that grows, of `length` elements so far. */
interface Gathered {
  bytes: Uint8Array<ArrayBuffer>
  words: Uint32Array<ArrayBuffer>
  length: number
}

interface ArrayType<A> {
  new (buffer: ArrayBuffer, byteOffset: number, length: number): A
  readonly BYTES_PER_ELEMENT: number
}

/** How elements lie in a message, and how they are brought to memory and back. */
interface Layout {
  /** Of an element that stands alone. */
  readonly wire: Wire
  /** The elements that packed bytes hold. */
  count(packed: Uint8Array): number
  /** Reads `count` elements, to the place `at` of what is gathered. */
  read(reader: Reader, into: Gathered, at: number, count: number): void
  /** Bytes of all elements, packed. */
  size(from: Gathered): number
  write(writer: Writer, from: Gathered): void
}

function numbers<A extends Numbers>(number: number, Type: ArrayType<A>, layout: Layout): Field<A> {
  return {
    number,
    absent: new Type(new ArrayBuffer(0), 0, 0),
    read: (reader, state: Gathered = gathered(0)) => {
      const isPacked = reader.wire !== layout.wire
      if (isPacked) reader.expect(wire.delimited)
      const from = isPacked ? reader.nested() : reader
      const count = isPacked ? layout.count(from.rest) : 1
      reserve(state, state.length + count, Type.BYTES_PER_ELEMENT)
      layout.read(from, state, state.length, count)
      state.length += count
      if (isPacked && !from.isAtEnd) throw new MalformedMessage(`field ${number} is cut off`)
      return state
    },
    finish: ({ bytes, length }: Gathered) => new Type(bytes.buffer, 0, length),
    size: (values) => (values.length === 0 ? 0 : delimitedSize(number, layout.size(memoryOf(values)))),
    write: (writer, values) => {
      if (values.length === 0) return
      const from = memoryOf(values)
      writer.delimited(number, layout.size(from))
      layout.write(writer, from)
    },
  }
}

/** Elements of varying length, by the halves of each. */
function varintLayout(element: {
  put(into: Gathered, at: number, low: number, high: number): void
  low(from: Gathered, at: number): number
  high(from: Gathered, at: number): number
}): Layout {
  return {
    wire: wire.varint,
    count: countVarints,
    read: (reader, into, at, count) => {
      for (let i = at; i < at + count; i++) {
        reader.varint()
        element.put(into, i, reader.low, reader.high)
      }
    },
    size: (from) => {
      let sum = 0
      for (let i = 0; i < from.length; i++) sum += varintSize(element.low(from, i), element.high(from, i))
      return sum
    },
    write: (writer, from) => {
      for (let i = 0; i < from.length; i++) writer.varint(element.low(from, i), element.high(from, i))
    },
  }
}

const boolLayout = varintLayout({
  put: ({ bytes }, at, low, high) => (bytes[at] = low === 0 && high === 0 ? 0 : 1),
  low: ({ bytes }, at) => (bytes[at] === 0 ? 0 : 1),
  high: () => 0,
})

const uint32Layout = varintLayout({
  put: ({ words }, at, low) => (words[at] = low),
  low: ({ words }, at) => words[at] ?? 0,
  high: () => 0,
})

/** As if of 64 bits: a negative one has ten bytes. */
const int32Layout = varintLayout({
  put: ({ words }, at, low) => (words[at] = low),
  low: ({ words }, at) => words[at] ?? 0,
  high: ({ words }, at) => ((words[at] ?? 0) >= 0x8000_0000 ? 0xffff_ffff : 0),
})

const int64Layout = varintLayout({
  put: ({ words }, at, low, high) => {
    words[2 * at] = low
    words[2 * at + 1] = high
  },
  low: ({ words }, at) => words[2 * at] ?? 0,
  high: ({ words }, at) => words[2 * at + 1] ?? 0,
})

const floatLayout = fixedLayout(wire.fixed32, 4)
const doubleLayout = fixedLayout(wire.fixed64, 8)

function fixedLayout(type: Wire, elementBytes: number): Layout {
  return {
    wire: type,
    count: ({ length }) => Math.floor(length / elementBytes),
    read: (reader, { bytes }, at, count) => reader.copy(bytes, at * elementBytes, count * elementBytes),
    size: ({ length }) => length * elementBytes,
    write: (writer, { bytes }) => writer.raw(bytes),
  }
}

export const bools = (number: number) => numbers<Uint8Array>(number, Uint8Array, boolLayout)
export const int32s = (number: number) => numbers<Int32Array>(number, Int32Array, int32Layout)
export const uint32s = (number: number) => numbers<Uint32Array>(number, Uint32Array, uint32Layout)
export const int64s = (number: number) => numbers<BigInt64Array>(number, BigInt64Array, int64Layout)
export const uint64s = (number: number) => numbers<BigUint64Array>(number, BigUint64Array, int64Layout)
export const floats = (number: number) => numbers<Float32Array>(number, Float32Array, floatLayout)
export const doubles = (number: number) => numbers<Float64Array>(number, Float64Array, doubleLayout)

/** Each ends with the one of its bytes that has no upper bit. */
function countVarints(packed: Uint8Array): number {
  let count = 0
  for (const byte of packed) if (byte < 0x80) count++
  return count
}

function gathered(byteLength: number): Gathered {
  const buffer = new ArrayBuffer(byteLength)
  return { bytes: new Uint8Array(buffer), words: new Uint32Array(buffer), length: 0 }
}

/** Makes room for elements; twice as much as there was, or what comes one by one would be copied each time. */
function reserve(state: Gathered, length: number, elementBytes: number): void {
  const needed = length * elementBytes
  if (needed <= state.bytes.length) return
  const { bytes, words } = gathered(Math.ceil(Math.max(needed, 2 * state.bytes.length) / 8) * 8)
  bytes.set(state.bytes)
  Object.assign(state, { bytes, words })
}

/** An array as memory that can be read by words, where it lies or, should it not lie at one, copied. */
function memoryOf(values: Numbers): Gathered {
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice()
  const { byteOffset, byteLength } = aligned
  const buffer = aligned.buffer as ArrayBuffer
  return {
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    words: new Uint32Array(buffer, byteOffset, Math.floor(byteLength / 4)),
    length: values.length,
  }
}
