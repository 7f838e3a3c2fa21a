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

/**
 * Asks for all rows at once, so that they meet in batches, and compares the answers with the raw runtime's.
 * @param {import('../http-models.js').Prepared} model
 * @param {import('../servers/catalog.js').Address} address
 * @param {readonly Buffer[]} requests
 * @throws {Error} at the first row that is answered wrongly, or not at all
 */
export async function verify(model, { port, protocol }, requests) {
  const { numbers } = protocolOf(protocol)
  await Promise.all(
    requests.map(async (request, i) => {
      const connection = await Connection.open(port)
      const { status, body } = await new Promise(
        (/** @type {(answer: { status: number, body: string }) => void} */ resolve) =>
          connection.send(request, (status, body) => resolve({ status, body: String(body) })),
      )
      connection.close()
      if (status !== 200)
        throw new Error(`row ${i} of ${model.name}: status ${status}: ${body.slice(0, 500)}`)
      const expected = model.expected[i] ?? []
      const actual = numbers(model, JSON.parse(body))
      if (!agree(actual, expected)) {
        throw new Error(
          `row ${i} of ${model.name}: got ${body.slice(0, 500)}, expected ${expected.join(', ')}`,
        )
      }
    }),
  )
}
