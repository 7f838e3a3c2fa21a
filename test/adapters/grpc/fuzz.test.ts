import { grpcServer, type GrpcServer } from 'mlserving/grpc'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { temporaryFolder } from '../../execution/support.js'
import { serveTargets } from '../../v2/hostile-requests.js'
import { TestClient } from './client.js'
import { askAll, captured, hostileCalls, type Verdict } from './hostile-calls.js'

const folder = temporaryFolder()
let serving: AnyServing
let server: GrpcServer
let client: TestClient

beforeAll(async () => {
  serving = await serveTargets(folder)
  server = grpcServer(serving, { port: 0 })
  client = new TestClient(await server.listen())
})
afterAll(async () => {
  client.close()
  await server.close()
  await serving.close()
})

test('messages as clients send them are answered', async () => {
  const verdict: Verdict = { statuses: {}, wrong: [] }
  await askAll(client, captured, verdict)
  expect(verdict).toEqual({ statuses: { OK: captured.length }, wrong: [] })
})

test('thousands of made up and damaged messages are answered or refused, and never wrongly', async () => {
  const verdict: Verdict = { statuses: {}, wrong: [] }
  await askAll(client, hostileCalls(4000, 1), verdict)
  expect(verdict.wrong).toEqual([])
  expect(verdict.statuses.OK).toBeGreaterThan(100)
  expect(verdict.statuses.INVALID_ARGUMENT).toBeGreaterThan(1000)
})
