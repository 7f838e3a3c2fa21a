import type { Field } from './field.js'
import { MalformedMessage } from './malformed-message.js'
import type { Reader } from './reader.js'
import { wire } from './wire.js'
import { delimitedSize, type Writer } from './writer.js'

/** The most entries of a list whose entries take much more memory than they need bytes. */
export const mostEntries = 10_000

/** Texts of any number: short ones take about as much memory as bytes. */
export function texts(number: number): List<string> {
  return list(number, Infinity, {
    read: (reader) => reader.text(),
    size: (text) => Buffer.byteLength(text),
    write: (writer, text) => writer.text(text),
  })
}

/** Byte strings, which are views of the message that is read. */
export function byteStrings(number: number): List<Uint8Array> {
  return list(number, mostEntries, {
    read: (reader) => reader.bytes(),
    size: (bytes) => bytes.length,
    write: (writer, bytes) => writer.raw(bytes),
  })
}

export type List<R, W = R> = Field<readonly R[], readonly W[]>

/** @param entry reads and writes what follows an entry's tag, where that begins with its length */
export function list<R, W>(
  number: number,
  most: number,
  entry: {
    read(reader: Reader): R
    size(value: W): number
    write(writer: Writer, value: W): void
  },
): List<R, W> {
  return {
    number,
    absent: [],
    read: (reader, state: R[] = []) => {
      reader.expect(wire.delimited)
      if (state.length >= most) throw new MalformedMessage(`field ${number} has more than ${most} entries`)
      state.push(entry.read(reader))
      return state
    },
    finish: (state: R[]) => state,
    size: (values) => values.reduce((sum, value) => sum + delimitedSize(number, entry.size(value)), 0),
    write: (writer, values) => {
      for (const value of values) {
        writer.delimited(number, entry.size(value))
        entry.write(writer, value)
      }
    },
  }
}
