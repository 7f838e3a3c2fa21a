/** The header that says how many bytes of a body are its JSON; tensors as raw bytes follow them. */
export const jsonLengthHeader = 'inference-header-content-length'

/** What follows the JSON of a body: handed out in the order of the tensors, in memory of its own. */
export interface RawBytes {
  /** Bytes that are left. */
  readonly size: number
  take(length: number): Uint8Array
}

/** One body of a JSON text and the raw bytes of the tensors that it speaks of. */
export function joinBody(
  json: string,
  raws: readonly Uint8Array[],
): { readonly body: Uint8Array; readonly jsonLength: number } {
  const head = Buffer.from(json)
  const size = raws.reduce((sum, { byteLength }) => sum + byteLength, head.byteLength)
  // Not zeroed: every byte of it is written.
  const body = Buffer.allocUnsafeSlow(size)
  body.set(head)
  let at = head.byteLength
  for (const raw of raws) {
    body.set(raw, at)
    at += raw.byteLength
  }
  return { body, jsonLength: head.byteLength }
}
