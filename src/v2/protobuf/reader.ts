import { MalformedMessage } from './malformed-message.js'
import { wire } from './wire.js'

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const longestVarint = 10

/** Reads the bytes of a message, of which it copies none. Whatever they are, it ends, or throws {@link MalformedMessage}. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0
  /** The number of the field that {@link nextField} has come to, and how its value is laid out. */
  field = 0
  wire = 0
  /** The two halves of the last {@link varint}, unsigned. */
  low = 0
  high = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** Goes on to the next field; false at the end. The value of the one before must have been read, or {@link skip}ped. */
  nextField(): boolean {
    if (this.isAtEnd) return false
    this.varint()
    this.field = this.low >>> 3
    this.wire = this.low & 7
    if (this.high !== 0 || this.field === 0) throw new MalformedMessage('a field has no valid number')
    return true
  }

  /** Reads up to 64 bits, into {@link low} and {@link high}. */
  varint(): void {
    const from = this.#at
    let low = 0
    let high = 0
    for (let i = 0; i < longestVarint; i++) {
      const byte = this.#bytes[from + i]
      if (byte === undefined) throw this.#cutOff()
      const bits = byte & 0x7f
      if (i < 4) low |= bits << (7 * i)
      else if (i > 4) high |= bits << (7 * i - 32)
      else {
        low |= bits << 28
        high = bits >>> 4
      }
      if (byte < 0x80) {
        this.#at = from + i + 1
        this.low = low >>> 0
        this.high = high >>> 0
        return
      }
    }
    throw new MalformedMessage(`an integer has more than ${longestVarint} bytes`)
  }

  double(): number {
    return this.#view.getFloat64(this.#advance(8), true)
  }

  /** Copies the next `size` bytes to a place of another array. */
  copy(into: Uint8Array, at: number, size: number): void {
    const from = this.#advance(size)
    into.set(this.#bytes.subarray(from, from + size), at)
  }

  /** What has not been read yet: a view. */
  get rest(): Uint8Array {
    return this.#bytes.subarray(this.#at)
  }

  /** A reader of what follows its length. */
  nested(): Reader {
    const nested = new Reader(this.bytes())
    nested.field = this.field
    return nested
  }

  /** What follows its length: a view, not a copy. */
  bytes(): Uint8Array {
    this.varint()
    const length = this.high === 0 ? this.low : Infinity
    const from = this.#advance(length)
    return this.#bytes.subarray(from, from + length)
  }

  text(): string {
    try {
      return textDecoder.decode(this.bytes())
    } catch (error) {
      if (error instanceof MalformedMessage) throw error
      throw new MalformedMessage(`field ${this.field} is no UTF-8`)
    }
  }

  /** Passes over the value of a field that nobody knows. */
  skip(): void {
    if (this.wire === wire.varint) this.varint()
    else if (this.wire === wire.fixed64) this.#advance(8)
    else if (this.wire === wire.delimited) this.bytes()
    else if (this.wire === wire.fixed32) this.#advance(4)
    // Groups, which nobody writes any more, and what protobuf has no meaning for.
    else throw new MalformedMessage(`field ${this.field} has the wire type ${this.wire}`)
  }

  /** @throws MalformedMessage where the value of the field is laid out otherwise */
  expect(expected: number): void {
    if (this.wire === expected) return
    throw new MalformedMessage(
      `field ${this.field} has the wire type ${this.wire}, where ${expected} is expected`,
    )
  }

  #advance(size: number): number {
    const from = this.#at
    if (size > this.#bytes.length - from) throw this.#cutOff()
    this.#at = from + size
    return from
  }

  #cutOff(): MalformedMessage {
    return new MalformedMessage(`field ${this.field} is cut off`)
  }
}
