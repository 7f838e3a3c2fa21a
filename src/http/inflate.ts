import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { ServingError } from '../errors.js'
import { show } from '../options.js'
import type { HttpRequest } from './exchange.js'

/** How a body is compressed: by the names of `content-encoding`. */
const decoders: ReadonlyMap<string, () => Transform> = new Map<string, () => Transform>([
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
])

export interface Encoding {
  readonly name: string
  readonly createDecoder: () => Transform
}

/**
 * The compression of a request's body; undefined where there is none.
 * @throws ServingError UNSUPPORTED_MEDIA_TYPE
 */
export function encodingOf(headers: HttpRequest['headers']): Encoding | undefined {
  const given = String(headers['content-encoding'] ?? 'identity')
  const name = given.trim().toLowerCase()
  if (name === 'identity') return undefined
  const createDecoder = decoders.get(name)
  if (createDecoder !== undefined) return { name, createDecoder }
  throw new ServingError(
    'UNSUPPORTED_MEDIA_TYPE',
    `the body may be encoded as gzip, deflate or br; got ${show(given)}.`,
  )
}
