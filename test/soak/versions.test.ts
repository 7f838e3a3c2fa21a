import { once } from 'node:events'
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import express from 'express'
import Fastify from 'fastify'
import { expect, it, onTestFinished } from 'vitest'
import { mlServing as mlServingExpress } from '../../adapters/express/index.js'
import { mlServing as mlServingFastify } from '../../adapters/fastify/index.js'
import { createServing, onnx, type ServingError } from '../../src/index.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const rounds = 100
const switchesARound = 5
const clientsADoor = 4

/** Asks once, over a connection that is kept. @returns the status */
function ask(agent: Agent, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const asked = request({ agent, port, method: 'POST', path: '/models/m/predict', headers }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
    })
    asked.once('error', reject)
    asked.end('{"x":[1,2,3]}')
  })
}

it(`${rounds * switchesARound} switches, ${rounds} failed loads and ${rounds} rollbacks under load, in a folder that changes, fail no request`, async () => {
  const root = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/corrupt/model.onnx': 'no model',
    'cold/1/model.onnx': identityModel(),
  })
  const serving = createServing({
    logger: quietLogger(),
    watch: { intervalMs: 50, stableMs: 100 },
    models: {
      m: onnx({ source: join(root, 'm'), current: '1', onNewVersion: 'load', placement: 'thread' }),
      cold: onnx({ source: join(root, 'cold'), lazy: true, warmUp: [{ none: [1] }] }),
    },
  })
  await serving.ready()
  const server = express().use(mlServingExpress(serving)).listen(0)
  await once(server, 'listening')
  const fastify = Fastify()
  await fastify.register(mlServingFastify, { serving })
  await fastify.listen({ port: 0 })
  const agent = new Agent({ keepAlive: true, maxSockets: 2 * clientsADoor })
  onTestFinished(async () => {
    agent.destroy()
    server.close()
    await fastify.close()
    await serving.close()
  })

  const statuses: Record<number, number> = {}
  let ending = false
  const client = async (port: number) => {
    while (!ending) {
      const status = await ask(agent, port)
      statuses[status] = (statuses[status] ?? 0) + 1
    }
  }
  const ports = [server, fastify.server].map((each) => (each.address() as AddressInfo).port)
  const clients = Promise.all(
    ports.flatMap((port) => Array.from({ length: clientsADoor }, () => client(port))),
  )

  const { models } = serving
  const failures: string[] = []
  const failing = [
    () => models.load('m', 'corrupt'),
    () => models.load('m', 'missing'),
    () => models.load('cold', '1'),
  ]
  const rssMb: number[] = []
  const copy = Buffer.from(identityModel())
  for (let round = 0; round < rounds; round++) {
    // A copy that is under way while versions are switched, and is gone some rounds later.
    const folder = join(root, 'm', `${100 + round}`)
    mkdirSync(folder)
    writeFileSync(join(folder, 'model.onnx'), copy.subarray(0, copy.length >> 1))
    for (let i = 0; i < switchesARound; i++) await models.switchVersion('m', i % 2 === 0 ? '2' : '1')
    appendFileSync(join(folder, 'model.onnx'), copy.subarray(copy.length >> 1))
    await failing[round % failing.length]?.().catch((error: unknown) =>
      failures.push((error as ServingError).code),
    )
    await models.rollback('m')
    if (round >= 5) {
      const old = `${100 + round - 5}`
      // It was loaded beside the one that serves, unless its copy came to rest only now.
      const known = models.get('m').versions.find(({ version }) => version === old)
      if (known?.state === 'ready') await models.unload('m', old)
      rmSync(join(root, 'm', old), { recursive: true })
    }
    if (round % 10 === 9) rssMb.push(Math.round(process.memoryUsage().rss / 1e6))
  }
  ending = true
  await clients
  const { versions } = models.get('m')
  console.log({ statuses, rssMb, versions: versions.length })
  expect(Object.keys(statuses)).toEqual(['200'])
  expect(failures).toHaveLength(rounds)
  expect(new Set(failures)).toEqual(new Set(['INVALID_MODEL', 'VERSION_NOT_FOUND']))
  expect(versions.filter(({ state }) => state === 'ready').length).toBeLessThan(12)
  expect(rssMb.at(-1)).toBeLessThan((rssMb[4] ?? 0) * 1.2)
})
