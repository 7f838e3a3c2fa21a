import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import express from 'express'
import { expect, it, onTestFinished } from 'vitest'
import { createServing, onnx } from '../../src/index.js'
import { mlServing } from '../../adapters/express/index.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const switches = 1000
const clients = 8

/** Asks once, over a connection that is kept. @returns the status */
function ask(agent: Agent, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const path = '/models/m/predict'
    const asked = request({ agent, port, method: 'POST', path, headers }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
    })
    asked.once('error', reject)
    asked.end('{"x":[1,2,3]}')
  })
}

it(`${switches} switches under load fail no request, and memory stays as it is`, async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': identityModel(), 'm/2/model.onnx': identityModel() })
  // Nothing is kept: each switch loads a version in a worker of its own, and unloads another.
  const m = onnx({ source: join(root, 'm'), placement: 'thread', keepPrevious: 0 })
  const serving = createServing({ models: { m }, logger: quietLogger() })
  await serving.ready()
  const server = express().use(mlServing(serving)).listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  onTestFinished(async () => {
    agent.destroy()
    server.close()
    await serving.close()
  })

  const statuses: Record<number, number> = {}
  let ending = false
  const client = async () => {
    while (!ending) {
      const status = await ask(agent, port)
      statuses[status] = (statuses[status] ?? 0) + 1
    }
  }
  const all = Promise.all(Array.from({ length: clients }, client))
  const series: { switches: number; rssMb: number; heapMb: number; requests: number }[] = []
  for (let done = 0; done < switches; done++) {
    await serving.models.switchVersion('m', done % 2 === 0 ? '1' : '2')
    if ((done + 1) % 100 !== 0) continue
    const { rss, heapUsed } = process.memoryUsage()
    const mb = (bytes: number) => Math.round(bytes / 1e6)
    const requests = Object.values(statuses).reduce((sum, count) => sum + count, 0)
    series.push({ switches: done + 1, rssMb: mb(rss), heapMb: mb(heapUsed), requests })
  }
  ending = true
  await all
  console.table(series)
  expect(Object.keys(statuses)).toEqual(['200'])
  // The first hundreds fill allocators and the heap; from then on it is a plateau.
  const [settled = Infinity, last = 0] = [series[4]?.rssMb, series[9]?.rssMb]
  expect(last).toBeLessThan(settled * 1.15)
})
