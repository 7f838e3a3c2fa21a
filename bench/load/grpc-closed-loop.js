/** A closed loop of gRPC calls: so many callers on one connection, each of whom asks again when answered. */
import { Client, credentials } from '@grpc/grpc-js'
import { percentile } from '../statistics.js'

/**
 * @param {object} options
 * @param {number} options.port
 * @param {string} options.path of the method
 * @param {Buffer} options.message
 * @param {number} options.concurrency
 * @param {number} options.seconds after which nobody asks again
 * @returns {Promise<Omit<import('./closed-loop.js').ClosedLoopFigures, 'p99Ms'>>}
 */
export async function grpcClosedLoop({ port, path, message, concurrency, seconds }) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  })
  const same = (/** @type {Buffer} */ bytes) => bytes
  const latencies = /** @type {number[]} */ ([])
  let failed = 0
  const started = performance.now()
  const end = started + seconds * 1000
  const call = () =>
    new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
      const ask = () => {
        const sent = performance.now()
        if (sent >= end) return resolve()
        client.makeUnaryRequest(path, same, same, message, (error) => {
          if (error === null) latencies.push(performance.now() - sent)
          else failed++
          ask()
        })
      }
      ask()
    })
  await Promise.all(Array.from({ length: concurrency }, call))
  const elapsed = (performance.now() - started) / 1000
  client.close()
  const answered = latencies.length
  return { requestsPerSecond: answered / elapsed, answered, failed, p50Ms: percentile(latencies, 50) }
}
