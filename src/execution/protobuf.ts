/** Bytes that are no ONNX model, or those of a damaged one. */
export class OnnxFormatError extends Error {
  override readonly name = 'OnnxFormatError'
  /** Where in the bytes it was found. */
  readonly offset: number

  constructor(what: string, offset: number) {
    super(`Not a readable ONNX model: ${what} (at byte ${offset})`)
    this.offset = offset
  }
}

const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const FIXED32 = 5
const GROUPS: readonly number[] = [3, 4]

const MAX_VARINT_BYTES = 10

/** protobuf's own parsers stop at this depth, so nothing that the runtime can load lies deeper. */
const MAX_DEPTH = 100

/** What to do with each field of a message, by its number; others are skipped. */
export type Fields<T> = Readonly<Record<number, (into: T, field: MessageReader) => unknown>>

/**
 * A cursor over the fields of one protobuf message. It steps over a whole field at a time and decodes a value only
 * when asked for it: to pass a tensor of any size costs no more than reading its length.
 *
 * Every read is checked against the end of the message, so damaged bytes throw {@link OnnxFormatError}.
 */
export class MessageReader {
  /** The number of the current field. */
  field = 0
  /** Where the current field begins, its tag included. */
  start: number
  /** Where the current field's value begins (of a delimited one: after its length). */
  private from: number
  /** Where the current field ends, and the next one begins. */
  private end: number
  private wire = VARINT

  /** @param message the name of the message's type, for errors */
  constructor(
    private readonly bytes: Buffer,
    private readonly message: string,
    private readonly begin: number,
    private readonly limit: number,
    private readonly depth: number,
  ) {
    this.start = begin
    this.from = begin
    this.end = begin
  }

  /** A reader over all of `bytes`, which are not copied. */
  static over(bytes: Uint8Array, message: string): MessageReader {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return new MessageReader(view, message, 0, view.length, 0)
  }

  /** Reads the message from its beginning on: each field that `fields` knows, in the order of the bytes. */
  read<T>(fields: Fields<T>, into: T): T {
    this.end = this.begin
    while (this.next()) fields[this.field]?.(into, this)
    return into
  }

  private next(): boolean {
    if (this.end === this.limit) return false
    this.start = this.end
    const tag = this.unsigned(this.start)
    this.field = Math.floor(tag / 8)
    this.wire = tag % 8
    if (this.field === 0) throw this.error('a field number of 0')
    if (this.wire === VARINT) this.end = this.endOfVarint(this.from)
    else if (this.wire === DELIMITED) this.end = this.endAfter(this.unsigned(this.from))
    else if (this.wire === FIXED32) this.end = this.endAfter(4)
    else if (this.wire === FIXED64) this.end = this.endAfter(8)
    else throw this.error(GROUPS.includes(this.wire) ? 'a group' : `the unknown wire type ${this.wire}`)
    return true
  }

  /** The current field as UTF-8 text. */
  text(): string {
    this.expect(DELIMITED, 'text')
    return this.bytes.toString('utf8', this.from, this.end)
  }

  /** The current field as a signed integer; beyond 2^53 it is rounded. */
  int(): number {
    return Number(this.bigint())
  }

  /** The current field as a signed 64-bit integer. */
  bigint(): bigint {
    this.expect(VARINT, 'an integer')
    return this.decode(this.from, this.end)
  }

  /** Appends the current field's integers to `into`: writers may pack a repeated field into one, or not. */
  bigints(into: bigint[]): void {
    if (this.wire !== DELIMITED) {
      into.push(this.bigint())
      return
    }
    for (let at = this.from; at < this.end;) {
      const next = this.endOfVarint(at, this.end)
      into.push(this.decode(at, next))
      at = next
    }
  }

  /** Appends the current field's floats to `into`, packed or not. */
  float32s(into: number[]): void {
    if (this.wire !== FIXED32 && this.wire !== DELIMITED) throw this.error('floats expected')
    for (let at = this.from; at + 4 <= this.end; at += 4) into.push(this.bytes.readFloatLE(at))
  }

  /** The current field's bytes, which are not copied. */
  data(): Uint8Array {
    this.expect(DELIMITED, 'bytes')
    return this.bytes.subarray(this.from, this.end)
  }

  /** A reader over the current field's message, of the type called `name`. */
  nested(name: string): MessageReader {
    this.expect(DELIMITED, name)
    if (this.depth === MAX_DEPTH) throw this.error(`messages nested deeper than ${MAX_DEPTH}`)
    return new MessageReader(this.bytes, name, this.from, this.end, this.depth + 1)
  }

  /**
   * The message's bytes, in pieces, with fields replaced by what `replace` gives for them; `undefined` keeps a
   * field as it is.
   */
  rewrite(replace: (field: this) => readonly Uint8Array[] | undefined): Uint8Array[] {
    const pieces: Uint8Array[] = []
    let kept = this.begin
    this.end = this.begin
    while (this.next()) {
      const replacement = replace(this)
      if (!replacement) continue
      pieces.push(this.bytes.subarray(kept, this.start), ...replacement)
      kept = this.end
    }
    pieces.push(this.bytes.subarray(kept, this.limit))
    return pieces
  }

  /** Reads an unsigned varint and leaves `from` behind it. */
  private unsigned(at: number): number {
    const first = at < this.limit ? (this.bytes[at] ?? 0) : 0x80
    if (first < 0x80) {
      this.from = at + 1
      return first
    }
    this.from = this.endOfVarint(at)
    let value = 0
    for (let i = this.from - 1; i >= at; i--) value = value * 0x80 + ((this.bytes[i] ?? 0) & 0x7f)
    return value
  }

  private endOfVarint(at: number, limit = this.limit): number {
    for (let end = at; end < limit; end++) {
      if ((this.bytes[end] ?? 0) < 0x80) return end + 1
      if (end - at === MAX_VARINT_BYTES - 1) throw this.error('an integer of more than 64 bits', at)
    }
    throw this.error('an integer that is cut off', at)
  }

  private endAfter(length: number): number {
    if (length <= this.limit - this.from) return this.from + length
    throw this.error(`${length} bytes announced where ${this.limit - this.from} are left`)
  }

  private decode(from: number, end: number): bigint {
    let value = 0n
    for (let i = end - 1; i >= from; i--) value = (value << 7n) | BigInt((this.bytes[i] ?? 0) & 0x7f)
    return BigInt.asIntN(64, value)
  }

  private expect(wire: number, what: string): void {
    if (this.wire !== wire) throw this.error(`${what} expected, wire type ${this.wire} found`)
  }

  private error(what: string, offset = this.start): OnnxFormatError {
    return new OnnxFormatError(`${what} in ${this.message}, field ${this.field}`, offset)
  }
}

/** A field that holds an unsigned integer. */
export function integerField(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field * 8 + VARINT), ...varint(value)])
}

/** A field that holds text. */
export function textField(field: number, text: string): Uint8Array[] {
  return messageField(field, [Buffer.from(text)])
}

/** A field that holds a message, or any bytes, given in pieces. */
export function messageField(field: number, pieces: readonly Uint8Array[]): Uint8Array[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  return [Uint8Array.from([...varint(field * 8 + DELIMITED), ...varint(length)]), ...pieces]
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80)
  bytes.push(rest)
  return bytes
}
