/**
 * An open loop: requests arrive at a constant rate, whatever the server does. Latency counts from when a request was
 * meant to start, so that a server that stalls is charged for those who would have asked meanwhile ("coordinated
 * omission", Tene, "How NOT to Measure Latency", 2013).
 */
import { setTimeout } from 'node:timers/promises'
import { percentile } from '../statistics.js'
import { ConstantArrivals } from './arrivals.js'
import { Connection } from './connection.js'

/** How long after the end an answer is waited for, before it counts as failed. */
const graceMs = 60_000

/**
 * @typedef {object} OpenLoopFigures
 * @property {number} offered
 * @property {number} answered of 2xx
 * @property {number} goodPerSecond answers of 2xx within the deadline, among those that came in the time
 * @property {number} refused 429 and 503
 * @property {number} expired 504
 * @property {number} failed any other status, and connections that ended
 * @property {number} p50Ms from the intended start, of answers of 2xx
 * @property {number} p99Ms likewise
 * @property {number} refusalP50Ms from when the request was sent until it was refused
 * @property {number} lateP99Ms by how much the generator itself was late to send
 */

/**
 * @param {object} options
 * @param {number} options.port
 * @param {readonly Buffer[]} options.requests asked in turn
 * @param {number} options.perSecond
 * @param {number} options.seconds
 * @param {number} [options.deadlineMs] what counts as good; all by default
 * @param {number} [options.maxConnections] 1000 by default; beyond, a request waits, and that counts in its latency
 * @returns {Promise<OpenLoopFigures>}
 */
export async function openLoop(options) {
  const { port, requests, perSecond, seconds, deadlineMs = Infinity, maxConnections = 1000 } = options
  const arrivals = new ConstantArrivals(perSecond, seconds)
  const latencies = /** @type {number[]} */ ([])
  const refusals = /** @type {number[]} */ ([])
  const late = /** @type {number[]} */ ([])
  const count = { good: 0, expired: 0, failed: 0 }
  const idle = /** @type {Connection[]} */ ([])
  const waiting = /** @type {number[]} */ ([])
  const opened = /** @type {Set<Connection>} */ (new Set())
  let connections = 0
  let finished = 0

  const started = performance.now()
  const end = started + seconds * 1000

  /** @param {number} index of the request */
  const dispatch = (index) => {
    let connection = idle.pop()
    while (connection !== undefined && !connection.open) {
      forget(connection)
      connection = idle.pop()
    }
    if (connection !== undefined) ask(connection, index)
    else if (connections < maxConnections) openFor(index)
    else waiting.push(index)
  }

  /** @param {number} index */
  const openFor = (index) => {
    connections++
    Connection.open(port).then(
      (connection) => {
        opened.add(connection)
        ask(connection, index)
      },
      () => {
        connections--
        finish(0, index, performance.now())
      },
    )
  }

  /** @param {Connection} connection */
  const forget = (connection) => {
    opened.delete(connection)
    connections--
  }

  /**
   * @param {Connection} connection
   * @param {number} index
   */
  const ask = (connection, index) => {
    const request = requests[index % requests.length]
    if (request === undefined) throw new Error('there is nothing to ask')
    const sent = performance.now()
    connection.send(request, (status) => {
      finish(status, index, sent)
      const next = waiting.shift()
      if (!connection.open) {
        forget(connection)
        if (next !== undefined) dispatch(next)
      } else if (next !== undefined) ask(connection, next)
      else idle.push(connection)
    })
  }

  /**
   * @param {number} status
   * @param {number} index
   * @param {number} sent
   */
  const finish = (status, index, sent) => {
    const now = performance.now()
    const latency = now - started - arrivals.startMs(index)
    finished++
    if (status >= 200 && status < 300) {
      latencies.push(latency)
      if (latency <= deadlineMs && now <= end) count.good++
    } else if (status === 429 || status === 503) refusals.push(now - sent)
    else if (status === 504) count.expired++
    else count.failed++
  }

  let sent = 0
  while (sent < arrivals.total) {
    const elapsed = performance.now() - started
    const due = arrivals.dueBy(elapsed)
    for (; sent < due; sent++) {
      late.push(elapsed - arrivals.startMs(sent))
      dispatch(sent)
    }
    await setTimeout(Math.max(1, arrivals.startMs(sent) - (performance.now() - started)))
  }
  while (finished < arrivals.total && performance.now() < end + graceMs) await setTimeout(10)
  const lost = arrivals.total - finished
  for (const connection of opened) connection.close()

  return {
    offered: arrivals.total,
    answered: latencies.length,
    goodPerSecond: count.good / seconds,
    refused: refusals.length,
    expired: count.expired,
    failed: count.failed + lost,
    p50Ms: percentile(latencies, 50),
    p99Ms: percentile(latencies, 99),
    refusalP50Ms: percentile(refusals, 50),
    lateP99Ms: percentile(late, 99),
  }
}
