import { expect, test } from 'vitest'
import { openLoop } from '../../../bench/load/open-loop.js'
import { get, serve } from './servers.js'

test('latency counts from when a request was meant to start, not from when it could be sent', async () => {
  const answerMs = 20
  const port = await serve((_, response) => {
    setTimeout(() => response.end('{}'), answerMs)
  })
  // 20 requests within 100 ms, one after the other over one connection: the last ends after 400 ms at the earliest.
  const figures = await openLoop({ port, requests: [get], perSecond: 200, seconds: 0.1, maxConnections: 1 })
  expect(figures).toMatchObject({ offered: 20, answered: 20, failed: 0 })
  expect(figures.p99Ms).toBeGreaterThan(20 * (answerMs - 1) - 100)
})

test('requests arrive though nobody is answered', async () => {
  let arrived = 0
  const waiting: (() => void)[] = []
  const port = await serve((_, response) => {
    waiting.push(() => void response.end('{}'))
    if (++arrived === 30) for (const answer of waiting) answer()
  })
  const figures = await openLoop({ port, requests: [get], perSecond: 100, seconds: 0.3 })
  expect(figures).toMatchObject({ offered: 30, answered: 30 })
  // The first waited for the last.
  expect(figures.p99Ms).toBeGreaterThan(280)
})

test('answers, refusals, deadlines that passed and failures are told apart', async () => {
  let served = 0
  const statuses = [200, 503, 504, 500, 429]
  const port = await serve((_, response) => {
    response.writeHead(statuses[served++ % statuses.length] ?? 0).end('{}')
  })
  const figures = await openLoop({ port, requests: [get], perSecond: 500, seconds: 0.1 })
  expect(figures).toMatchObject({ offered: 50, answered: 10, refused: 20, expired: 10, failed: 10 })
  expect(figures.refusalP50Ms).toBeGreaterThan(0)
})

test('an answer after the deadline is no good one', async () => {
  const port = await serve((_, response) => {
    setTimeout(() => response.end('{}'), 20)
  })
  const figures = await openLoop({ port, requests: [get], perSecond: 100, seconds: 0.2, deadlineMs: 10 })
  expect(figures).toMatchObject({ answered: 20, goodPerSecond: 0 })
})
