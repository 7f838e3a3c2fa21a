/**
 * Asks a server for its health 20 times a second, over one connection; a late answer puts off the next question.
 * Arguments: the address, for how many seconds.
 */
import { setTimeout } from 'node:timers/promises'

const [url = '', seconds] = process.argv.slice(2)

async function probe() {
  const started = performance.now()
  const response = await fetch(url)
  await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  return performance.now() - started
}

async function probes() {
  const end = performance.now() + Number(seconds) * 1000
  const latencies = []
  while (performance.now() < end) {
    const latency = await probe()
    latencies.push(latency)
    await setTimeout(Math.max(0, 50 - latency))
  }
  latencies.sort((a, b) => a - b)
  return { p99Ms: latencies[Math.ceil(latencies.length * 0.99) - 1] }
}

process.on('message', async () => process.send?.(await probes()))
await probe()
process.send?.('warm')
