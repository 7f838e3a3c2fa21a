import { expect, it, onTestFinished } from 'vitest'
import { grpcServer } from '../../adapters/grpc/index.js'
import { TestClient } from '../adapters/grpc/client.js'
import { askAll, hostileCalls, type Verdict } from '../adapters/grpc/hostile-calls.js'
import { temporaryFolder } from '../execution/support.js'
import { serveTargets } from '../v2/hostile-requests.js'

const calls = 120_000
const rounds = 20
const folder = temporaryFolder()

it(`${calls} made up and damaged gRPC messages crash nothing, and memory stays as it is`, async () => {
  const serving = await serveTargets(folder)
  const server = grpcServer(serving, { port: 0 })
  const client = new TestClient(await server.listen())
  onTestFinished(async () => {
    client.close()
    await server.close()
    await serving.close()
  })
  const verdict: Verdict = { statuses: {}, wrong: [] }
  const series: { calls: number; rssMb: number; heapMb: number }[] = []
  for (let round = 1; round <= rounds; round++) {
    await askAll(client, hostileCalls(calls / rounds, round * 10_000_000), verdict)
    const { rss, heapUsed } = process.memoryUsage()
    const mb = (bytes: number) => Math.round(bytes / 1e6)
    series.push({ calls: (calls / rounds) * round, rssMb: mb(rss), heapMb: mb(heapUsed) })
  }
  console.table(series)
  console.log(verdict.statuses)
  expect(verdict.wrong).toEqual([])
  const [settled = Infinity, last = 0] = [series[rounds / 2]?.rssMb, series.at(-1)?.rssMb]
  expect(last).toBeLessThan(settled * 1.15)
})
