import { joined } from './bytes.js'

/** The body is longer than may be. */
export class BodyTooLarge extends Error {}

/**
 * The bytes of a body, inflated where it was compressed. No more is taken than may be kept: a server can send without end.
 * @throws BodyTooLarge, and what the connection fails with
 */
export async function bodyOf(response: Response, maxBytes: number): Promise<Uint8Array> {
  const { chunks, isWhole } = await chunksOf(response, maxBytes)
  if (isWhole) return joined(chunks)
  throw new BodyTooLarge(`more than ${maxBytes} bytes`)
}

/** What a body begins with, of about a length at most. */
export async function beginningOf(response: Response, bytes: number): Promise<Uint8Array> {
  return joined((await chunksOf(response, bytes)).chunks).subarray(0, bytes)
}

async function chunksOf(
  { body }: Response,
  maxBytes: number,
): Promise<{ readonly chunks: readonly Uint8Array[]; readonly isWhole: boolean }> {
  const chunks: Uint8Array[] = []
  if (body === null) return { chunks, isWhole: true }
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  let size = 0
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value)
    size += next.value.length
    if (size <= maxBytes) continue
    await reader.cancel()
    return { chunks, isWhole: false }
  }
  return { chunks, isWhole: true }
}
