/** Keeps a server busy. Arguments: the address, how many connections, for how many seconds. Warms it up at first. */
import autocannon from 'autocannon'

const [url = '', connections, duration] = process.argv.slice(2)
// A body of some 500 bytes; the model makes much of little.
const body = JSON.stringify({ x: Array.from({ length: 64 }, (_, i) => i / 64) })

/** @param {number} seconds */
async function load(seconds) {
  const { requests, latency, errors, non2xx, timeouts, ...result } = await autocannon({
    url,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    connections: Number(connections),
    duration: seconds,
  })
  const failed = errors + non2xx + timeouts
  return {
    requests: requests.total,
    seconds: result.duration,
    p50Ms: latency.p50,
    p99Ms: latency.p99,
    failed,
  }
}

process.on('message', async () => process.send?.(await load(Number(duration))))
await load(2)
process.send?.('warm')
