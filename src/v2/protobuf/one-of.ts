import type { Field } from './field.js'
import type { MessageType } from './message.js'
import { Reader } from './reader.js'
import type { Writer } from './writer.js'

/** A message that is one value of several types: the last of its fields that stands there, and no field besides. */
export class OneOf<T> implements MessageType<T | undefined, T> {
  readonly #byNumber: ReadonlyMap<number, Field<T>>
  readonly #fieldOf: (value: T) => Field<T>

  /** @param fieldOf the field that a value is written in, of `fields` */
  constructor(fields: readonly Field<T>[], fieldOf: (value: T) => Field<T>) {
    this.#byNumber = new Map(fields.map((field) => [field.number, field]))
    this.#fieldOf = fieldOf
  }

  read(bytes: Uint8Array): T | undefined {
    const reader = new Reader(bytes)
    let value: T | undefined
    while (reader.nextField()) {
      const field = this.#byNumber.get(reader.field)
      if (field === undefined) reader.skip()
      else value = field.finish(field.read(reader, undefined))
    }
    return value
  }

  size(value: T): number {
    return this.#fieldOf(value).size(value)
  }

  write(writer: Writer, value: T): void {
    this.#fieldOf(value).write(writer, value)
  }
}
