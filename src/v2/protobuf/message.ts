import type { Field } from './field.js'
import { list, mostEntries, type List } from './list.js'
import { MalformedMessage } from './malformed-message.js'
import { Reader } from './reader.js'
import { wire } from './wire.js'
import { delimitedSize, Writer } from './writer.js'

/** How a type of messages is read and written. */
export interface MessageType<R, W = R> {
  /** @throws MalformedMessage */
  read(bytes: Uint8Array): R
  size(value: W): number
  write(writer: Writer, value: W): void
}

type Fields = Readonly<Record<string, Field<unknown, never>>>

/** What is read of a message. */
export type Read<F> = {
  readonly [K in keyof F]: F[K] extends Field<infer R, infer _W> ? R : never
}

/** What may be written as a message: a field that is left out has its default. */
export type Written<F> = {
  readonly [K in keyof F]?: F[K] extends Field<infer _R, infer W> ? W | undefined : never
}

/** The type that messages of `fields` are read as. */
export type MessageOf<T> = T extends MessageType<infer R, infer _W> ? R : never

/** What may be written as a message of a type. */
export type WrittenOf<T> = T extends MessageType<infer _R, infer W> ? W : never

/** A type of messages by the names and numbers of its fields; those with other numbers are passed over. */
export class Message<F extends Fields> implements MessageType<Read<F>, Written<F>> {
  readonly #fields: [name: string, field: Field<unknown>][]
  readonly #byNumber: Map<number, [name: string, field: Field<unknown>]>

  constructor(fields: F) {
    this.#fields = Object.entries(fields)
    this.#byNumber = new Map(this.#fields.map((entry) => [entry[1].number, entry]))
  }

  read(bytes: Uint8Array): Read<F> {
    const reader = new Reader(bytes)
    const states: Record<string, unknown> = {}
    const read: Record<string, unknown> = {}
    /** The field that is read. */
    let name: string | undefined
    try {
      while (reader.nextField()) {
        const known = this.#byNumber.get(reader.field)
        name = known?.[0]
        if (known === undefined) reader.skip()
        else states[known[0]] = known[1].read(reader, states[known[0]])
        name = undefined
      }
      for (const [each, field] of this.#fields) {
        name = each
        read[name] = name in states ? field.finish(states[name]) : field.absent
      }
    } catch (error) {
      throw name !== undefined && error instanceof MalformedMessage ? error.within(name) : error
    }
    return read as Read<F>
  }

  size(value: Written<F>): number {
    const values: Readonly<Record<string, unknown>> = value
    let sum = 0
    for (const [name, field] of this.#fields) if (values[name] !== undefined) sum += field.size(values[name])
    return sum
  }

  write(writer: Writer, value: Written<F>): void {
    const values: Readonly<Record<string, unknown>> = value
    for (const [name, field] of this.#fields)
      if (values[name] !== undefined) field.write(writer, values[name])
  }
}

/** A message's bytes. */
export function encode<W>(type: MessageType<unknown, W>, value: W): Buffer {
  const writer = new Writer(type.size(value))
  type.write(writer, value)
  return writer.bytes
}

/** At most one message: several are one, as protobuf has it. */
export function message<R, W>(number: number, type: MessageType<R, W>): Field<R | undefined, W> {
  return {
    number,
    absent: undefined,
    read: (reader, parts: Uint8Array[] = []) => {
      reader.expect(wire.delimited)
      if (parts.length === mostEntries) throw new MalformedMessage(`field ${number} occurs too often`)
      parts.push(reader.bytes())
      return parts
    },
    finish: (parts: Uint8Array[]) =>
      type.read(parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)),
    size: (value) => delimitedSize(number, type.size(value)),
    write: (writer, value) => {
      writer.delimited(number, type.size(value))
      type.write(writer, value)
    },
  }
}

export function messages<R, W>(number: number, type: MessageType<R, W>): List<R, W> {
  return list(number, mostEntries, {
    read: (reader) => type.read(reader.bytes()),
    size: (value: W) => type.size(value),
    write: (writer, value) => type.write(writer, value),
  })
}

/** Messages by name: to protobuf a list of pairs, of which the last of a name counts. */
export function map<R, W>(
  number: number,
  key: Field<string>,
  value: Field<R, W>,
): Field<ReadonlyMap<string, R>, ReadonlyMap<string, W>> {
  const pairs = messages(number, new Message({ key, value }))
  const asPairs = (entries: ReadonlyMap<string, W>) =>
    Array.from(entries, ([name, own]) => ({ key: name, value: own }))
  return {
    number,
    absent: new Map(),
    read: (reader, state) => pairs.read(reader, state),
    finish: (state: Read<Pair<R, W>>[]) => new Map(state.map((pair) => [pair.key, pair.value] as const)),
    size: (entries) => pairs.size(asPairs(entries)),
    write: (writer, entries) => pairs.write(writer, asPairs(entries)),
  }
}

interface Pair<R, W> {
  readonly key: Field<string>
  readonly value: Field<R, W>
}
