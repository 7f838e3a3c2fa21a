import { Connection } from './connection.js'
import { protocolOf } from './protocol.js'

/** What another build of the runtime, or another batch size, may change of an answer. */
const absolute = 1e-4
const relative = 1e-3

/**
 * Whether two predictions are the same, but for the last digits.
 * @param {readonly number[]} actual
 * @param {readonly number[]} expected
 */
export function agree(actual, expected) {
  return (
    actual.length === expected.length &&
    expected.every(
      (number, i) => Math.abs((actual[i] ?? NaN) - number) <= absolute + relative * Math.abs(number),
    )
  )
}

/** Rows that are asked for at once: enough to meet in batches, and no more than any server lets in. */
const atOnce = 64

/**
 * Asks for all rows, many at once, so that they meet in batches, and compares the answers with the raw runtime's.
 * @param {import('../http-models.js').Prepared} model
 * @param {import('../servers/catalog.js').Address} address
 * @param {readonly Buffer[]} requests
 * @throws {Error} at the first row that is answered wrongly, or not at all
 */
export async function verify(model, address, requests) {
  for (let first = 0; first < requests.length; first += atOnce) {
    const group = requests.slice(first, first + atOnce)
    await Promise.all(group.map((request, i) => verifyRow(model, address, request, first + i)))
  }
}

/**
 * @param {import('../http-models.js').Prepared} model
 * @param {import('../servers/catalog.js').Address} address
 * @param {Buffer} request
 * @param {number} row
 */
async function verifyRow(model, { port, protocol }, request, row) {
  const connection = await Connection.open(port)
  const { status, body } = await new Promise(
    (/** @type {(answer: { status: number, body: string }) => void} */ resolve) =>
      connection.send(request, (status, body) => resolve({ status, body: String(body) })),
  )
  connection.close()
  if (status !== 200) throw new Error(`row ${row} of ${model.name}: status ${status}: ${body.slice(0, 500)}`)
  const expected = model.expected[row] ?? []
  const actual = protocolOf(protocol).numbers(model, JSON.parse(body))
  if (agree(actual, expected)) return
  throw new Error(`row ${row} of ${model.name}: got ${body.slice(0, 500)}, expected ${expected.join(', ')}`)
}
