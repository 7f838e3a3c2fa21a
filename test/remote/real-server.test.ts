import { createServer } from 'node:http'
import express from 'express'
import { createServing, type Json, type Model } from 'mlserving'
import { float32, InferenceClient } from 'mlserving/client'
import { mlServing } from 'mlserving/express'
import { remote } from 'mlserving/remote'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { listen, type RunningHost } from '../contract/hosts.js'
import { dtypes, finiteSampleOf, sampleOf } from '../client/dtype-samples.js'
import { serveDtypes } from '../client/serving-of-dtypes.js'
import { quietLogger } from '../models/quiet-logger.js'
import { V2Server } from './v2-server.js'

let host: RunningHost
beforeAll(async () => {
  host = await serveDtypes()
})
afterAll(() => host[Symbol.asyncDispose]())

describe.each([{ binary: true }, { binary: false }])('remote models of another serving, %j', ({ binary }) => {
  const make = () => {
    const models: Record<string, Model<Json, unknown>> = {}
    for (const dtype of dtypes)
      models[dtype] = remote({ url: host.origin, model: dtype, binary, batching: true, cache: true })
    return createServing({ models, logger: quietLogger() })
  }
  let serving: ReturnType<typeof make>
  beforeAll(async () => {
    serving = make()
    await serving.ready()
  })
  afterAll(() => serving.close())

  it.each(dtypes)('%s comes back bit for bit, from the server and from the cache', async (dtype) => {
    const x = binary ? sampleOf(dtype) : finiteSampleOf(dtype)
    for (const cache of ['miss', 'hit']) {
      const { outputs, meta } = await serving.infer(dtype, { inputs: { x } })
      expect(outputs).toEqual({ y: x })
      expect(meta.cache).toBe(cache)
    }
  })

  it('plain values go in and come out as of a model here', async () => {
    expect((await serving.predict('int64', { x: [1, 2, 2n ** 60n] })).prediction).toEqual([1, 2, 2n ** 60n])
    expect((await serving.predict('string', { x: ['a', 'é', ''] })).prediction).toEqual(['a', 'é', ''])
    expect((await serving.predict('bool', { x: [true, false, true] })).prediction).toEqual([
      true,
      false,
      true,
    ])
  })
})

describe('a remote model that is served on', () => {
  const startProxy = async (url: string) => {
    const models = { m: remote({ url, model: 'm', healthIntervalMs: 0, retries: 0 }) }
    const serving = createServing({ models, logger: quietLogger() })
    await serving.ready()
    const proxy = await listen(createServer(express().use(mlServing(serving))))
    onTestFinished(async () => {
      await proxy[Symbol.asyncDispose]()
      await serving.close()
    })
    return new InferenceClient({ url: proxy.origin, retries: 0 })
  }
  const inputs = { x: float32([1, 2], [1, 2]) }

  it('says of itself what its server says', async () => {
    const client = await startProxy((await V2Server.start(['3'])).url)
    expect(await client.modelMetadata('m')).toEqual({
      name: 'm',
      versions: ['3'],
      platform: 'mlserving_remote',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
    })
    const { outputs, modelVersion } = await client.infer('m', { inputs })
    expect([outputs.y?.data, modelVersion]).toEqual([Float32Array.of(3, 6), '3'])
  })

  it('hands an abort of its client on to the server', async () => {
    const server = await V2Server.start()
    const client = await startProxy(server.url)
    server.fault = 'hang'
    const abort = new AbortController()
    const call = client.infer('m', { inputs }, { signal: abort.signal })
    await expect.poll(() => server.asked).toHaveLength(1)
    abort.abort()
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    await expect.poll(() => server.hungUp).toBe(1)
  })

  it('answers 503 where its server does not answer, without the address of that', async () => {
    const server = await V2Server.start()
    const client = await startProxy(server.url)
    await server.stop()
    const call = client.infer('m', { inputs })
    await expect(call).rejects.toMatchObject({
      status: 503,
      serverMessage: 'm@1: the remote server could not be reached, or hung up.',
    })
  })
})
