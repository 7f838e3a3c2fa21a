import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { ServingError } from '../../errors.js'
import type { ArtifactCache } from './artifact-cache.js'

/** What is digested before the event loop has a turn. */
const chunkBytes = 1024 * 1024

/** The bytes that a value is, of any realm; undefined for what holds none. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (!ArrayBuffer.isView(value) || Object.prototype.toString.call(value) !== '[object Uint8Array]')
    return undefined
  return value as Uint8Array
}

/** What bytes were when they were first looked at. */
const digests = new WeakMap<Uint8Array, string>()

/**
 * Puts the bytes of a model into the cache, since sessions are opened from files, in threads and processes of their
 * own. They are not read again as long as the file is there.
 * @returns the file's path
 * @throws ServingError SOURCE_UNAVAILABLE where the cache can't be written; INVALID_MODEL where the bytes are needed again
 *   and were changed
 */
export async function keepBytes(bytes: Uint8Array, cache: ArtifactCache): Promise<string> {
  const known = digests.get(bytes)
  const present = known === undefined ? undefined : await cache.find(known)
  if (present !== undefined) return present
  const sha256 = await digestOf(bytes)
  if (known !== undefined && known !== sha256) {
    throw new ServingError(
      'INVALID_MODEL',
      'the bytes that the model was loaded from were changed: give new ones a version of their own.',
    )
  }
  digests.set(bytes, sha256)
  return (await cache.find(sha256)) ?? (await cache.put(sha256, bytes))
}

async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    if (at > 0) await setImmediate()
    hash.update(bytes.subarray(at, at + chunkBytes))
  }
  return hash.digest('hex')
}
