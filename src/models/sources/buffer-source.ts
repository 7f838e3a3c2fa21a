import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { ArtifactCache } from './artifact-cache.js'

/** What is digested before the event loop has a turn. */
const chunkBytes = 1024 * 1024

/** The bytes that a value is, of any realm; undefined for what holds none. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (!ArrayBuffer.isView(value) || Object.prototype.toString.call(value) !== '[object Uint8Array]')
    return undefined
  return value as Uint8Array
}

/**
 * Puts the bytes of a model into the cache, since sessions are opened from files, in threads and processes of their
 * own.
 * @returns the file's path
 * @throws ServingError SOURCE_UNAVAILABLE where the cache can't be written
 */
export async function keepBytes(bytes: Uint8Array, cache: ArtifactCache): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    if (at > 0) await setImmediate()
    hash.update(bytes.subarray(at, at + chunkBytes))
  }
  const sha256 = hash.digest('hex')
  return (await cache.find(sha256)) ?? (await cache.put(sha256, bytes))
}
