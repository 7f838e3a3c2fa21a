import { copyOf, elementCount, typedArrays, type DType, type Tensor } from '../tensor/tensor.js'

/**
 * Tensors as the bytes that the binary tensor extension and gRPC's raw contents carry: row-major, little-endian (as are
 * the machines that the runtime is built for), a bool one byte, a string its length as a uint32 and its UTF-8.
 */

/** Bytes are not those of a tensor; the message says what would be. */
export class RawMismatch extends Error {}

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A tensor's bytes: of numbers the tensor's own memory, not a copy. */
export function toRaw({ dtype, data }: Tensor): Uint8Array {
  if (dtype === 'string') return joinTexts(data)
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** Into one array of the most that they may be, for one of each text would cost many times as much as the text. */
function joinTexts(texts: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(texts.reduce((sum, { length }) => sum + 4 + length * mostBytesPerUnit, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const text of texts) {
    const { written } = textEncoder.encodeInto(text, bytes.subarray(at + 4))
    view.setUint32(at, written, true)
    at += 4 + written
  }
  return bytes.slice(0, at)
}

/** A code unit of UTF-16 is at most so many bytes of UTF-8. */
const mostBytesPerUnit = 3

/**
 * The tensor that bytes are. Numbers share the bytes' memory where those lie at a multiple of the element's size, and are
 * copied elsewhere.
 * @param shape without negative or fractional dimensions
 * @throws RawMismatch
 */
export function fromRaw(dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  const count = elementCount(shape)
  if (dtype === 'string') return { dtype, shape, data: splitTexts(bytes, count) }
  const Type = typedArrays[dtype]
  const size = Type.BYTES_PER_ELEMENT
  if (bytes.byteLength !== count * size) {
    throw new RawMismatch(
      `${count} elements of ${size} bytes are ${count * size} bytes; got ${bytes.byteLength}`,
    )
  }
  if (dtype === 'bool') checkBools(bytes)
  const { buffer, byteOffset } = bytes.byteOffset % size === 0 ? bytes : copyOf(bytes)
  return { dtype, shape, data: new Type(buffer as ArrayBuffer, byteOffset, count) } as Tensor
}

function checkBools(bytes: Uint8Array): void {
  const at = bytes.findIndex((byte) => byte > 1)
  if (at !== -1) throw new RawMismatch(`a BOOL is a byte of 0 or 1; got ${bytes[at] ?? ''} at element ${at}`)
}

function splitTexts(bytes: Uint8Array, count: number): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Not made for `count` strings before they are there: a shape of a few bytes can claim any number.
  const texts: string[] = []
  let at = 0
  while (at < bytes.byteLength) {
    if (texts.length === count) {
      throw new RawMismatch(`${count} elements end at byte ${at} of ${bytes.byteLength}`)
    }
    if (at + 4 > bytes.byteLength) throw cutOff(texts.length)
    const end = at + 4 + view.getUint32(at, true)
    if (end > bytes.byteLength) throw cutOff(texts.length)
    texts.push(decodeText(bytes.subarray(at + 4, end), texts.length))
    at = end
  }
  if (texts.length !== count) throw new RawMismatch(`there are ${texts.length} elements of ${count}`)
  return texts
}

function cutOff(element: number): RawMismatch {
  return new RawMismatch(`element ${element} of BYTES is cut off: each is a uint32 length and as many bytes`)
}

function decodeText(bytes: Uint8Array, element: number): string {
  let text: string
  try {
    text = textDecoder.decode(bytes)
  } catch {
    throw new RawMismatch(`element ${element} of BYTES is no UTF-8, which is what the runtime's strings are`)
  }
  if (text.includes('\0')) {
    throw new RawMismatch(`element ${element} of BYTES holds a zero byte, where the runtime would cut it`)
  }
  return text
}
