import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { hosts, type RunningHost } from '../contract/hosts.js'
import { temporaryFolder } from '../execution/support.js'
import { askAll, captured, hostileRequests, serveTargets, type Verdict } from './hostile-requests.js'

const folder = temporaryFolder()
let serving: AnyServing
let running: RunningHost[]

beforeAll(async () => {
  serving = await serveTargets(folder)
  running = await Promise.all(hosts.map(({ start }) => start(serving)))
})
afterAll(async () => {
  await Promise.all(running.map((host) => host[Symbol.asyncDispose]()))
  await serving.close()
})

test('requests as clients send them are answered', async () => {
  const verdict: Verdict = { statuses: {}, wrong: [] }
  for (const { origin } of running) await askAll(origin, captured, verdict)
  expect(verdict).toEqual({ statuses: { 200: captured.length * running.length }, wrong: [] })
})

test('thousands of made up and damaged requests are answered or refused, and never wrongly', async () => {
  const verdict: Verdict = { statuses: {}, wrong: [] }
  for (const [i, { origin }] of running.entries())
    await askAll(origin, hostileRequests(1000, 1_000_000 * (i + 1)), verdict)
  expect(verdict.wrong).toEqual([])
  expect(verdict.statuses[200]).toBeGreaterThan(100)
  expect(verdict.statuses[400]).toBeGreaterThan(1000)
})
