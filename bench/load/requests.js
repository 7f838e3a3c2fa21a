import { protocolOf } from './protocol.js'

/**
 * The bytes of requests over HTTP/1.1, one for each row of a model; made before the clock starts.
 * @param {import('../http-models.js').Prepared} model
 * @param {import('../servers/catalog.js').Address} address
 * @param {Record<string, string>} [headers]
 */
export function requestsFor(model, { port, path, protocol }, headers = {}) {
  const { body } = protocolOf(protocol)
  return model.rows.map((row) => {
    const bytes = Buffer.from(JSON.stringify(body(model, row)))
    const lines = [
      `POST ${path} HTTP/1.1`,
      `host: 127.0.0.1:${port}`,
      'content-type: application/json',
      `content-length: ${bytes.length}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ]
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), bytes])
  })
}

/** @param {import('../servers/catalog.js').Address} address */
export function healthRequest({ port, healthPath }) {
  return Buffer.from(`GET ${healthPath} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`)
}
