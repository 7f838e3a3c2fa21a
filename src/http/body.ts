import type { Readable } from 'node:stream'
import { messageOf, ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import type { HttpRequest } from './exchange.js'

/**
 * The JSON object in a request's body, read with a limit, or as the host has parsed it.
 * @throws ServingError INVALID_REQUEST, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, ABORTED
 */
export async function readJsonObject(
  request: HttpRequest,
  maxBytes: number,
): Promise<Readonly<Record<string, unknown>>> {
  const value =
    'parsed' in request.body
      ? request.body.parsed
      : parse(await readBytes(request, request.body.stream, maxBytes))
  if (isPlainObject(value)) return value
  throw new ServingError('INVALID_REQUEST', `the body must be a JSON object; got ${show(value)}.`)
}

async function readBytes(request: HttpRequest, stream: Readable, maxBytes: number): Promise<Buffer> {
  checkMediaType(request)
  if (Number(request.headers['content-length']) > maxBytes) throw tooLarge(maxBytes)
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBytes) throw tooLarge(maxBytes)
      chunks.push(chunk)
    }
  } catch (error) {
    if (ServingError.is(error)) throw error
    throw new ServingError('ABORTED', `the body did not arrive whole: ${messageOf(error)}`, { cause: error })
  }
  return Buffer.concat(chunks, size)
}

function checkMediaType({ headers }: HttpRequest): void {
  const type = String(headers['content-type'] ?? 'application/json')
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new ServingError('UNSUPPORTED_MEDIA_TYPE', `the body must be application/json; got ${show(type)}.`)
  }
  const encoding = String(headers['content-encoding'] ?? 'identity')
  if (encoding.toLowerCase() !== 'identity') {
    throw new ServingError('UNSUPPORTED_MEDIA_TYPE', `the body must not be encoded; got ${show(encoding)}.`)
  }
}

function parse(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new ServingError('INVALID_REQUEST', 'the body is empty; send a JSON object.')
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch (error) {
    throw new ServingError('INVALID_REQUEST', 'the body is not valid UTF-8.', { cause: error })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServingError('INVALID_REQUEST', `the body is not JSON: ${messageOf(error)}`, { cause: error })
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function tooLarge(maxBytes: number): ServingError {
  return new ServingError('BODY_TOO_LARGE', `the body is larger than ${maxBytes} bytes.`)
}
