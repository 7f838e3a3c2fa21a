/** A closed loop: so many callers, each of whom asks again when answered. */
import { setTimeout as wait } from 'node:timers/promises'
import { percentile } from '../statistics.js'
import { Connection } from './connection.js'

/** How long after the end an answer is waited for, before it counts as failed. */
const graceMs = 60_000

/**
 * @typedef {object} ClosedLoopFigures
 * @property {number} requestsPerSecond answers of 2xx until the last has come
 * @property {number} answered answers of 2xx
 * @property {number} failed other answers, and connections that ended without one
 * @property {number} p50Ms
 * @property {number} p99Ms
 */

/**
 * @param {object} options
 * @param {number} options.port
 * @param {readonly Buffer[]} options.requests asked in turn
 * @param {number} options.concurrency
 * @param {number} options.seconds after which nobody asks again
 * @returns {Promise<ClosedLoopFigures>}
 */
export async function closedLoop({ port, requests, concurrency, seconds }) {
  const latencies = /** @type {number[]} */ ([])
  let asked = 0
  let failed = 0
  let last = 0
  const connections = await Promise.all(Array.from({ length: concurrency }, () => Connection.open(port)))
  const started = performance.now()
  const end = started + seconds * 1000
  const lost = setTimeout(
    () => connections.forEach((connection) => connection.close()),
    end + graceMs - started,
  )

  /** @param {number} caller */
  const call = (caller) =>
    new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
      const ask = () => {
        const sent = performance.now()
        const request = requests[asked % requests.length]
        const connection = connections[caller]
        if (sent >= end || request === undefined || connection === undefined) return resolve()
        asked++
        connection.send(request, (status) => {
          const now = performance.now()
          if (status >= 200 && status < 300) {
            latencies.push(now - sent)
            last = now
          } else failed++
          if (connection.open) ask()
          else
            reopen(caller).then(ask, () => {
              failed++
              resolve()
            })
        })
      }
      ask()
    })

  /** @param {number} caller */
  const reopen = async (caller) => {
    // A server that hangs up on everybody is not asked at the machine's full speed.
    await wait(10)
    if (performance.now() < end) connections[caller] = await Connection.open(port)
  }

  await Promise.all(connections.map((_, caller) => call(caller)))
  clearTimeout(lost)
  for (const connection of connections) connection.close()
  return {
    // Not those of the given time alone: a server that works on all requests at once ends them together, late.
    requestsPerSecond: last > started ? latencies.length / ((last - started) / 1000) : 0,
    answered: latencies.length,
    failed,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
  }
}
