import { finished, type Readable } from 'node:stream'
import { messageOf, ServingError } from '../errors.js'
import { show } from '../options.js'
import { Chunks } from './chunks.js'
import type { HttpRequest, UnreadBody } from './exchange.js'
import { encodingOf, type Encoding } from './inflate.js'
import { checkJsonObject, parseJsonObject, type JsonLimits, type JsonObject } from './json.js'
import { isJsonType, isMediaType, matchesType } from './media-type.js'

/** The most that a body may hold. */
export interface BodyLimits extends JsonLimits {
  /** In bytes, inflated. */
  readonly maxBodyBytes: number
}

/**
 * Whether a body is JSON, or the bytes of one of the types that its model `accepts`. A body without a type is JSON;
 * so is one that the host has parsed, whatever its type.
 * @throws ServingError UNSUPPORTED_MEDIA_TYPE
 */
export function bodyKind({ headers, body }: HttpRequest, accepts: readonly string[]): 'json' | 'bytes' {
  const type = headers['content-type']
  if (type === undefined || isJsonType(String(type))) return 'json'
  if (matchesType(String(type), accepts)) return 'bytes'
  if ('parsed' in body) return 'json'
  throw unsupportedType(headers, accepts)
}

/**
 * Refuses a malformed content type before anything else is looked at, as Fastify does.
 * @throws ServingError UNSUPPORTED_MEDIA_TYPE
 */
export function checkMediaType({ headers, body }: HttpRequest): void {
  const type = headers['content-type']
  if (type !== undefined && !('parsed' in body) && !isMediaType(String(type))) throw unsupportedType(headers)
}

/** What is said of a content type that is not served, or malformed. */
export function unsupportedType(
  headers: HttpRequest['headers'],
  accepts: readonly string[] = [],
): ServingError {
  const allowed = ['application/json', ...accepts].join(', ').replace(/, (?=[^,]+$)/, ' or ')
  return new ServingError(
    'UNSUPPORTED_MEDIA_TYPE',
    `the body must be ${allowed}; got ${show(headers['content-type'])}.`,
  )
}

/**
 * The JSON object in a request's body, read with limits, or as the host has parsed it.
 * @throws ServingError INVALID_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
export async function readJsonObject(request: HttpRequest, limits: BodyLimits): Promise<JsonObject> {
  const { body } = request
  const given = 'parsed' in body ? body.parsed : (await read(request, body, limits.maxBodyBytes)).asOne()
  // A host's raw parser leaves bytes as well.
  return given instanceof Uint8Array ? parseJsonObject(given, limits) : checkJsonObject(given, limits)
}

/**
 * The bytes of a request's body, inflated, in memory of their own.
 * @throws ServingError INVALID_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
export async function readBytes(request: HttpRequest, limits: BodyLimits): Promise<Uint8Array> {
  return (await readChunks(request, limits)).joined()
}

/**
 * The bytes of a request's body, inflated, to be taken apart.
 * @throws ServingError INVALID_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
export async function readChunks(request: HttpRequest, { maxBodyBytes }: BodyLimits): Promise<Chunks> {
  const { body } = request
  if (!('parsed' in body)) return read(request, body, maxBodyBytes)
  if (body.parsed instanceof Uint8Array) return Chunks.of(body.parsed)
  if (typeof body.parsed === 'string') return Chunks.of(new TextEncoder().encode(body.parsed))
  throw new ServingError(
    'INVALID_REQUEST',
    `the model takes the body's bytes, of which the app's own parser has made ${show(body.parsed)}.`,
  )
}

function read({ headers }: HttpRequest, body: UnreadBody, maxBytes: number): Promise<Chunks> {
  const encoding = encodingOf(headers)
  if (Number(headers['content-length']) > maxBytes) throw tooLarge(maxBytes)
  return encoding === undefined
    ? readPlain(body.stream, maxBytes)
    : readEncoded(body.stream, maxBytes, encoding)
}

function readPlain(stream: Readable, maxBytes: number): Promise<Chunks> {
  return new Promise((resolve, reject) => {
    const chunks = new Chunks(maxBytes)
    stream.on('data', (chunk: Uint8Array) => {
      // What still comes is dropped rather than left: the connection has further requests behind it.
      if (!chunks.add(chunk)) reject(tooLarge(maxBytes))
    })
    whenRead(stream, (error) => {
      if (error) reject(notWhole(error))
      else resolve(chunks)
    })
  })
}

/** As {@link finished}, which costs more than the rest of reading a small body. */
function whenRead(stream: Readable, callback: (error?: Error | null) => void): void {
  if (stream.destroyed || stream.readableEnded) return void finished(stream, { writable: false }, callback)
  stream.on('end', callback)
  stream.on('error', callback)
  stream.on('close', () => {
    if (!stream.readableEnded) callback(new Error('Premature close'))
  })
}

/** Inflates while it reads, so that what a few bytes would become is never held beyond the limit. */
function readEncoded(stream: Readable, maxBytes: number, encoding: Encoding): Promise<Chunks> {
  return new Promise((resolve, reject) => {
    const decoder = encoding.createDecoder()
    const sent = new Chunks(maxBytes)
    const inflated = new Chunks(maxBytes)
    const refuse = (error: ServingError): void => {
      reject(error)
      stream.unpipe(decoder)
      decoder.destroy()
      stream.resume() // dropped rather than left, as above
    }
    stream.on('data', (chunk: Uint8Array) => {
      if (!sent.count(chunk)) refuse(tooLarge(maxBytes))
    })
    finished(stream, { writable: false }, (error) => {
      if (error) refuse(notWhole(error))
    })
    decoder.on('data', (chunk: Uint8Array) => {
      if (!inflated.add(chunk)) refuse(tooLarge(maxBytes))
    })
    decoder.on('end', () => resolve(inflated))
    decoder.on('error', (error) => {
      const message = `the body is not valid ${encoding.name}: ${messageOf(error)}`
      refuse(new ServingError('INVALID_REQUEST', message, { cause: error }))
    })
    stream.pipe(decoder)
  })
}

function notWhole(error: Error): ServingError {
  return new ServingError('ABORTED', `the body did not arrive whole: ${messageOf(error)}`, { cause: error })
}

function tooLarge(maxBytes: number): ServingError {
  return new ServingError('BODY_TOO_LARGE', `the body is larger than ${maxBytes} bytes.`)
}
