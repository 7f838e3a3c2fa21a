/**
 * Memory under mixed traffic on both adapters: RSS and heap of the server at each minute. Run after `npm run build`:
 * `node bench/memory.js --minutes 10`
 *
 * One process serves the example models through Express and Fastify; this one asks: single rows, instances, cached
 * and wrong inputs, large and compressed bodies, callers that hang up, and a switch of versions every second.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } })
const minutes = Number(values.minutes)

/** @typedef {{ rssMb: number, heapMb: number, arrayBuffersMb: number }} Memory */

const server = fork(new URL('memory-server.js', import.meta.url))
const [{ express, fastify }] = /** @type {[{ express: number, fastify: number }]} */ (
  await once(server, 'message')
)

const digit = { image: Array.from({ length: 784 }, (_, i) => (i % 256) / 255) }
const row = { features: Array.from({ length: 30 }, (_, i) => i) }

/** @type {Record<string, number>} */
const statuses = {}
let ending = false
let asked = 0

/**
 * @param {number} port
 * @param {string} path
 * @param {string | Uint8Array} body
 * @param {{ headers?: Record<string, string>, signal?: AbortSignal }} [options]
 */
async function post(port, path, body, { headers = {}, ...options } = {}) {
  asked++
  let status
  try {
    const response = await fetch(`http://127.0.0.1:${port}/models/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
      ...options,
    })
    await response.arrayBuffer()
    status = `${response.status}`
  } catch {
    status = 'hung up'
  }
  statuses[status] = (statuses[status] ?? 0) + 1
}

/** @type {((port: number, turn: number) => Promise<void>)[]} */
const requests = [
  (port, turn) => post(port, 'sentiment/predict', JSON.stringify({ text: `I love it ${turn}` })),
  (port, turn) => post(port, 'sentiment/predict', JSON.stringify({ text: `the same ${turn % 50}` })),
  (port) => post(port, 'digits/predict', JSON.stringify(digit)),
  (port) => post(port, 'digits/predict', JSON.stringify({ instances: Array(20).fill(digit) })),
  (port) => post(port, 'tumor/predict', JSON.stringify(row)),
  (port) => post(port, 'tumor/predict', JSON.stringify({ features: [1] })),
  (port, turn) => post(port, `made-up-${turn}/predict`, '{}'),
  (port) => post(port, 'digits/predict', '{"image": [1, 2'),
  (port) =>
    post(port, 'digits/predict', gzipSync(JSON.stringify({ instances: Array(50).fill(digit) })), {
      headers: { 'content-encoding': 'gzip' },
    }),
  (port) => post(port, 'digits/predict', JSON.stringify(digit), { signal: AbortSignal.timeout(2) }),
]

/** @param {number} port */
async function client(port) {
  for (let turn = 0; !ending; turn++) await requests[turn % requests.length]?.(port, turn)
}

/** @returns {Promise<Memory>} */
async function memory() {
  const answer = once(server, 'message')
  server.send('memory')
  const [read] = await answer
  return read
}

const clients = [express, express, fastify, fastify].map(client)
console.log('| minute | requests | RSS, MB | heap, MB | array buffers, MB |\n|---:|---:|---:|---:|---:|')
for (let minute = 0; minute <= minutes; minute++) {
  const { rssMb, heapMb, arrayBuffersMb } = await memory()
  console.log(`| ${minute} | ${asked} | ${rssMb} | ${heapMb} | ${arrayBuffersMb} |`)
  if (minute < minutes) await setTimeout(60_000)
}
ending = true
await Promise.all(clients)
console.log('\nAnswers by status:', statuses)
server.send('end')
await once(server, 'exit')
