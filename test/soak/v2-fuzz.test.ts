import { createServer } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it, onTestFinished } from 'vitest'
import { mlServing } from '../../adapters/express/index.js'
import { listen } from '../contract/hosts.js'
import { temporaryFolder } from '../execution/support.js'
import { askAll, hostileRequests, serveTargets, type Verdict } from '../v2/hostile-requests.js'

const requests = 120_000
const rounds = 12
const folder = temporaryFolder()

/** What is left once all garbage is collected: how much there is of that between is V8's own affair. */
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

it(`${requests} made up and damaged requests crash nothing, and memory stays as it is`, async () => {
  const serving = await serveTargets(folder)
  const handler = mlServing(serving)
  const server = await listen(createServer((req, res) => handler(req, res, () => res.writeHead(404).end())))
  onTestFinished(async () => {
    await server[Symbol.asyncDispose]()
    await serving.close()
  })
  const verdict: Verdict = { statuses: {}, wrong: [] }
  const series: { requests: number; rssMb: number; heapMb: number }[] = []
  for (let round = 1; round <= rounds; round++) {
    await askAll(server.origin, hostileRequests(requests / rounds, round * 10_000_000), verdict)
    collectGarbage()
    const { rss, heapUsed } = process.memoryUsage()
    const mb = (bytes: number) => Math.round(bytes / 1e6)
    series.push({ requests: (requests / rounds) * round, rssMb: mb(rss), heapMb: mb(heapUsed) })
  }
  console.table(series)
  console.log(verdict.statuses)
  expect(verdict.wrong).toEqual([])
  const [settled, last] = [series[rounds / 4], series.at(-1)]
  expect(last?.heapMb).toBeLessThan((settled?.heapMb ?? Infinity) * 1.1)
  expect(last?.rssMb).toBeLessThan((settled?.rssMb ?? Infinity) * 1.15)
})
