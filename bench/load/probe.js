import { setTimeout } from 'node:timers/promises'
import { percentile } from '../statistics.js'
import { Connection } from './connection.js'

const everyMs = 50

/**
 * Asks for a server's health 20 times a second over one connection, until `until` resolves. A late answer puts off the
 * next question.
 * @param {number} port
 * @param {Buffer} request
 * @param {Promise<unknown>} until
 */
export async function probe(port, request, until) {
  let ended = false
  const end = until.finally(() => (ended = true))
  const latencies = []
  let connection = await Connection.open(port)
  while (!ended) {
    const sent = performance.now()
    const status = await new Promise((/** @type {(status: number) => void} */ resolve) =>
      connection.send(request, resolve),
    )
    const latency = performance.now() - sent
    if (status === 0) connection = await Connection.open(port)
    else latencies.push(latency)
    await Promise.race([end, setTimeout(Math.max(0, everyMs - latency))])
  }
  connection.close()
  return { healthP99Ms: percentile(latencies, 99) }
}
