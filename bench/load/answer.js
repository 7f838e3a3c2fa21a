/** Reads an answer over HTTP/1.1, as far as a load generator needs it. */

/**
 * @param {Buffer} bytes what has come since the request
 * @returns {{ status: number, body: Buffer } | undefined} undefined while there is more to come
 */
export function readAnswer(bytes) {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = bytes.toString('latin1', 0, end)
  const status = Number(head.slice(9, 12))
  const rest = bytes.subarray(end + 4)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length !== undefined) {
    return rest.length < Number(length) ? undefined : { status, body: rest.subarray(0, Number(length)) }
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error(`an answer without a length: ${head}`)
  const body = readChunks(rest)
  return body && { status, body }
}

/** @param {Buffer} bytes */
function readChunks(bytes) {
  const chunks = []
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const begin = lineEnd + 2
    // Each chunk ends with an empty line, the last, which is empty, too.
    if (bytes.length < begin + size + 2) return undefined
    if (size === 0) return Buffer.concat(chunks)
    chunks.push(bytes.subarray(begin, begin + size))
    at = begin + size + 2
  }
}
