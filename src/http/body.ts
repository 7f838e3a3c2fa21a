import { finished, type Readable } from 'node:stream'
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
  const { body } = request
  const given = 'parsed' in body ? body.parsed : await readBytes(request, body.stream, maxBytes)
  // A host's raw parser leaves bytes as well.
  const value = given instanceof Uint8Array ? parse(given) : given
  if (isPlainObject(value)) return value
  throw new ServingError('INVALID_REQUEST', `the body must be a JSON object; got ${show(value)}.`)
}

async function readBytes(request: HttpRequest, stream: Readable, maxBytes: number): Promise<Uint8Array> {
  checkMediaType(request)
  if (Number(request.headers['content-length']) > maxBytes) throw tooLarge(maxBytes)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) {
        // What still comes is dropped rather than left: the connection has further requests behind it.
        chunks.length = 0
        reject(tooLarge(maxBytes))
      } else {
        chunks.push(chunk)
      }
    })
    finished(stream, { writable: false }, (error) => {
      if (!error) return resolve(Buffer.concat(chunks))
      const message = `the body did not arrive whole: ${messageOf(error)}`
      reject(new ServingError('ABORTED', message, { cause: error }))
    })
  })
}

function checkMediaType({ headers }: HttpRequest): void {
  if (
    !/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(String(headers['content-type'] ?? 'application/json'))
  ) {
    throw notJson(headers)
  }
  const encoding = String(headers['content-encoding'] ?? 'identity')
  if (encoding.toLowerCase() !== 'identity') {
    throw new ServingError('UNSUPPORTED_MEDIA_TYPE', `the body must not be encoded; got ${show(encoding)}.`)
  }
}

/** What is said of a content type other than JSON's, and of one that is malformed. */
export function notJson(headers: HttpRequest['headers']): ServingError {
  const type = show(headers['content-type'])
  return new ServingError('UNSUPPORTED_MEDIA_TYPE', `the body must be application/json; got ${type}.`)
}

function parse(bytes: Uint8Array): unknown {
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
