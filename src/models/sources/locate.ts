import { bytesOf, keepBytes } from './buffer-source.js'
import type { ModelSource } from './model-source.js'
import { fetchArtifact, type FetchHost } from './remote-artifact.js'
import type { RemoteSource } from './remote-source.js'

/**
 * The path of a source: fetched, or written to disk, where it has none.
 * @throws ServingError SOURCE_UNAVAILABLE, INVALID_MODEL
 */
export async function locate(source: ModelSource, host: FetchHost): Promise<string> {
  if (typeof source === 'string') return source
  const bytes = bytesOf(source)
  return bytes === undefined ? fetchArtifact(source as RemoteSource, host) : keepBytes(bytes, host.cache)
}
