import { wire, type Wire } from './wire.js'

/** Bytes of a varint of up to 64 bits, given as its two halves. */
export function varintSize(low: number, high = 0): number {
  const bits = high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high)
  return Math.max(1, Math.ceil(bits / 7))
}

/** Bytes of a field's tag. */
export function tagSize(field: number): number {
  return varintSize(field << 3)
}

/** Bytes of a field whose value follows its length. */
export function delimitedSize(field: number, length: number): number {
  return tagSize(field) + varintSize(length) + length
}

/** Writes a message into memory of the size that was worked out before: nothing is copied twice. */
export class Writer {
  readonly bytes: Buffer
  #at = 0

  /** @param size of the whole message */
  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size)
  }

  tag(field: number, type: Wire): void {
    this.varint((field << 3) | type)
  }

  /** @param low the lower half of 64 bits, and `high` the upper one, both unsigned */
  varint(low: number, high = 0): void {
    while (high !== 0 || low >= 0x80) {
      this.bytes[this.#at++] = (low & 0x7f) | 0x80
      low = ((low >>> 7) | (high << 25)) >>> 0
      high >>>= 7
    }
    this.bytes[this.#at++] = low
  }

  double(value: number): void {
    this.#at = this.bytes.writeDoubleLE(value, this.#at)
  }

  /** The head of a field whose value is of `length` bytes, which are to follow. */
  delimited(field: number, length: number): void {
    this.tag(field, wire.delimited)
    this.varint(length)
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  text(text: string): void {
    this.#at += this.bytes.write(text, this.#at)
  }
}
