import type { Reader } from './reader.js'
import { wire, type Wire } from './wire.js'
import { tagSize, varintSize, type Writer } from './writer.js'

/**
 * How one field of a message is read and written. What is the default is not written, as proto3 has it.
 * @typeParam R what is read
 * @typeParam W what may be written
 * @typeParam S what is gathered while its message is read, since a field may occur many times
 */
export interface Field<R, W = R, S = unknown> {
  readonly number: number
  /** What a message without the field has. */
  readonly absent: R
  /** Reads one occurrence. @param state that of the occurrences before; undefined for the first */
  read(reader: Reader, state: S | undefined): S
  /** What the occurrences come to. */
  finish(state: S): R
  /** Bytes with its tag; 0 where it is not written. */
  size(value: W): number
  write(writer: Writer, value: W): void
}

/** Whether a value that is the default is written all the same: of the choices of a oneof it is. */
type Presence = 'implicit' | 'explicit'

interface Scalar<T> {
  readonly absent: T
  readonly wire: Wire
  read(reader: Reader): T
  size(value: T): number
  write(writer: Writer, value: T): void
}

/** A field of which the last occurrence counts. */
function scalar<T>(number: number, presence: Presence, type: Scalar<T>): Field<T> {
  const isLeftOut = (value: T) => presence === 'implicit' && Object.is(value, type.absent)
  return {
    number,
    absent: type.absent,
    read: (reader) => {
      reader.expect(type.wire)
      return type.read(reader)
    },
    finish: (value: T) => value,
    size: (value) => (isLeftOut(value) ? 0 : tagSize(number) + type.size(value)),
    write: (writer, value) => {
      if (isLeftOut(value)) return
      writer.tag(number, type.wire)
      type.write(writer, value)
    },
  }
}

export function bool(number: number, presence: Presence = 'implicit'): Field<boolean> {
  return scalar(number, presence, {
    absent: false,
    wire: wire.varint,
    read: (reader) => {
      reader.varint()
      return reader.low !== 0 || reader.high !== 0
    },
    size: () => 1,
    write: (writer, value) => writer.varint(value ? 1 : 0),
  })
}

/** A uint32, an int32 that is never negative, or an enumeration. */
export function uint32(number: number, presence: Presence = 'implicit'): Field<number> {
  return scalar(number, presence, {
    absent: 0,
    wire: wire.varint,
    read: (reader) => {
      reader.varint()
      return reader.low
    },
    size: (value) => varintSize(value),
    write: (writer, value) => writer.varint(value),
  })
}

export function int64(number: number, presence: Presence = 'implicit'): Field<bigint> {
  return scalar(number, presence, { ...unsigned, read: (reader) => BigInt.asIntN(64, unsigned.read(reader)) })
}

export function uint64(number: number, presence: Presence = 'implicit'): Field<bigint> {
  return scalar(number, presence, unsigned)
}

const unsigned: Scalar<bigint> = {
  absent: 0n,
  wire: wire.varint,
  read: (reader) => {
    reader.varint()
    return (BigInt(reader.high) << 32n) | BigInt(reader.low)
  },
  size: (value) => varintSize(...halves(value)),
  write: (writer, value) => writer.varint(...halves(value)),
}

function halves(value: bigint): [low: number, high: number] {
  const bits = BigInt.asUintN(64, value)
  return [Number(bits & 0xffff_ffffn), Number(bits >> 32n)]
}

export function double(number: number, presence: Presence = 'implicit'): Field<number> {
  return scalar(number, presence, {
    absent: 0,
    wire: wire.fixed64,
    read: (reader) => reader.double(),
    size: () => 8,
    write: (writer, value) => writer.double(value),
  })
}

export function string(number: number, presence: Presence = 'implicit'): Field<string> {
  return scalar(number, presence, {
    absent: '',
    wire: wire.delimited,
    read: (reader) => reader.text(),
    size: (value) => sizeWithLength(Buffer.byteLength(value)),
    write: (writer, value) => {
      writer.varint(Buffer.byteLength(value))
      writer.text(value)
    },
  })
}

/** Bytes, which are a view of the message that is read. */
export function bytes(number: number, presence: Presence = 'implicit'): Field<Uint8Array> {
  return scalar(number, presence, {
    absent: none,
    wire: wire.delimited,
    read: (reader) => reader.bytes(),
    size: ({ length }) => sizeWithLength(length),
    write: (writer, value) => {
      writer.varint(value.length)
      writer.raw(value)
    },
  })
}

const none = new Uint8Array()
const sizeWithLength = (length: number) => varintSize(length) + length
