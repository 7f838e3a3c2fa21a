import { hash } from 'node:crypto'
import type { Feeds } from './tensor.js'

/** Grows to the largest input digested so far, up to this; larger inputs get a buffer of their own. */
const keepUpToBytes = 1024 * 1024
let scratch = Buffer.allocUnsafe(4096)

/**
 * A sha256 over names, dtypes, shapes and elements: equal for equal feeds, whatever the order of their names, and
 * for no others. Every part is preceded by its length, so that no two feeds write the same bytes.
 */
export function digest(feeds: Feeds): string {
  const names = Object.keys(feeds).sort()
  let end = 0
  const reserve = (bytes: number): number => {
    const start = end
    end += bytes
    if (end > scratch.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, 2 * scratch.length))
      scratch.copy(larger, 0, 0, start)
      scratch = larger
    }
    return start
  }
  const writeText = (text: string): void => {
    const bytes = Buffer.byteLength(text)
    scratch.writeUInt32LE(bytes, reserve(4))
    scratch.write(text, reserve(bytes), 'utf8')
  }
  for (const name of names) {
    const tensor = feeds[name]
    if (tensor === undefined) continue
    // No dtype has a colon, and no shape: they can't be taken for a part of the name.
    writeText(`${tensor.dtype}:${tensor.shape.join('x')}:${name}`)
    if (tensor.dtype === 'string') {
      for (const text of tensor.data) writeText(text)
    } else {
      const { buffer, byteOffset, byteLength } = tensor.data
      const start = reserve(byteLength)
      scratch.set(new Uint8Array(buffer, byteOffset, byteLength), start)
    }
  }
  const key = hash('sha256', scratch.subarray(0, end), 'base64')
  if (scratch.length > keepUpToBytes) scratch = Buffer.allocUnsafe(4096)
  return key
}
