import { expect, test } from 'vitest'
import { closedLoop } from '../../../bench/load/closed-loop.js'
import { get, serve } from './servers.js'

test('as many requests are under way as there are callers, and each answer is counted', async () => {
  let underWay = 0
  let most = 0
  let served = 0
  const port = await serve((_, response) => {
    most = Math.max(most, ++underWay)
    setTimeout(() => {
      underWay--
      served++
      response.end('{}')
    }, 5)
  })
  const figures = await closedLoop({ port, requests: [get], concurrency: 4, seconds: 0.3 })
  expect(most).toBe(4)
  expect(figures).toMatchObject({ answered: served, failed: 0 })
  expect(figures.requestsPerSecond).toBeGreaterThan(0)
  expect(figures.p50Ms).toBeGreaterThan(4)
  expect(figures.p99Ms).toBeGreaterThanOrEqual(figures.p50Ms)
})

test('errors and lost connections are failures, and the callers go on', async () => {
  let served = 0
  const port = await serve((request, response) => {
    const turn = served++ % 3
    if (turn === 0) request.socket.destroy()
    else response.writeHead(turn === 1 ? 200 : 500).end('{}')
  })
  const figures = await closedLoop({ port, requests: [get], concurrency: 1, seconds: 0.3 })
  expect(served).toBeGreaterThan(3)
  expect(figures.answered).toBe(Math.floor((served + 1) / 3))
  expect(figures.failed).toBe(served - figures.answered)
})
