import { promisify } from 'node:util'
import { constants, deflate, gzip } from 'node:zlib'
import type { HttpRequest, WholeResponse } from './exchange.js'

/** Smaller bodies are not worth it. */
const fewestBytes = 1024

const encoders = { gzip: promisify(gzip), deflate: promisify(deflate) }

type Encoding = keyof typeof encoders

/**
 * A response in the encoding that its caller likes best, where that is gzip or deflate; small ones stay as they are. At the
 * fastest level: most bodies are tensors, which no level makes much smaller.
 */
export function compressed(
  response: WholeResponse,
  headers: HttpRequest['headers'],
): WholeResponse | Promise<WholeResponse> {
  const accepted = headers['accept-encoding']
  if (accepted === undefined || response.body.length < fewestBytes) return response
  const encoding = preferred(String(accepted))
  return encoding === undefined ? response : encoded(response, encoding)
}

async function encoded({ status, headers, body }: WholeResponse, encoding: Encoding): Promise<WholeResponse> {
  return {
    status,
    headers: { ...headers, 'content-encoding': encoding, vary: 'accept-encoding' },
    body: await encoders[encoding](body, { level: constants.Z_BEST_SPEED }),
  }
}

/** Of those that we have and an `accept-encoding` takes (RFC 9110, 12.5.3), the first of the highest weight. */
function preferred(accepted: string): Encoding | undefined {
  const weights = new Map(accepted.split(',').map(weighted))
  const of = (name: string) => weights.get(name) ?? weights.get('*') ?? 0
  const best = of('gzip') >= of('deflate') ? 'gzip' : 'deflate'
  // What stays as it is is taken by default, but liked best only where that is said.
  return of(best) > 0 && of(best) >= (weights.get('identity') ?? 0) ? best : undefined
}

function weighted(part: string): [name: string, weight: number] {
  const [name = '', ...parameters] = part.split(';').map((each) => each.trim().toLowerCase())
  const given = parameters.find((each) => each.startsWith('q='))
  const weight = given === undefined ? 1 : Number(given.slice(2))
  return [name === 'x-gzip' ? 'gzip' : name, Number.isFinite(weight) ? weight : 0]
}
