import { createServing, type AnyModel, type Json, type Model } from 'mlserving'
import { float32 } from 'mlserving/client'
import { grpcServer } from 'mlserving/grpc'
import { remote } from 'mlserving/remote'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { dtypes, sampleOf } from '../client/dtype-samples.js'
import { servingOfDtypes } from '../client/serving-of-dtypes.js'
import { asAny } from '../contract/serving.js'
import { quietLogger } from '../models/quiet-logger.js'
import { V2Server } from './v2-server.js'

const inputs = { x: float32([1, 2], [1, 2]) }

async function listen(serving: AnyServing, port = 0) {
  const server = grpcServer(serving, { host: '127.0.0.1', port })
  return { server, port: await server.listen() }
}

/** A serving of a remote model `m` over gRPC. */
function servingOf(options: Partial<Parameters<typeof remote<Json, unknown>>[0]>) {
  const models = {
    m: remote({ model: 'm', protocol: 'grpc', healthIntervalMs: 0, ...options }),
  }
  const serving = createServing({ models, logger: quietLogger() })
  onTestFinished(() => serving.close())
  return serving
}

describe('remote models over gRPC', () => {
  let close: () => Promise<void>
  let serving: ReturnType<typeof createServing<Record<string, Model<Json, unknown>>>>

  beforeAll(async () => {
    const origin = await servingOfDtypes()
    const { server, port } = await listen(origin)
    const models: Record<string, Model<Json, unknown>> = {}
    for (const dtype of dtypes)
      models[dtype] = remote({ url: `grpc://127.0.0.1:${port}`, model: dtype, protocol: 'grpc' })
    serving = createServing({ models, logger: quietLogger() })
    close = async () => {
      await serving.close()
      await server.close()
      await origin.close()
    }
    await serving.ready()
  })
  afterAll(() => close())

  it.each(dtypes)('%s comes back bit for bit', async (dtype) => {
    const x = sampleOf(dtype)
    expect((await serving.infer(dtype, { inputs: { x } })).outputs).toEqual({ y: x })
  })

  it('have their versions, inputs and outputs from the server', () => {
    expect(serving.models.get('int64')).toMatchObject({
      current: '1',
      inputs: [{ name: 'x', dtype: 'int64', shape: ['', 3] }],
      outputs: [{ name: 'y', dtype: 'int64', shape: ['', 3] }],
    })
  })
})

/** A gRPC server before a V2 server whose faults it hands on. */
async function startBefore(server: V2Server) {
  const models: Record<string, AnyModel> = {
    m: remote({ url: server.url, model: 'm', healthIntervalMs: 0, retries: 0, circuit: { failures: 1000 } }),
  }
  const serving = asAny(createServing({ models, logger: quietLogger() }))
  await serving.ready()
  let { server: grpc, port } = await listen(serving)
  onTestFinished(async () => {
    await grpc.close()
    await serving.close()
  })
  return {
    url: `127.0.0.1:${port}`,
    stop: () => grpc.close(),
    start: async () => ({ server: grpc, port } = await listen(serving, port)),
  }
}

describe('a call over gRPC', () => {
  it('hands its abort on to the server', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: (await startBefore(server)).url })
    await serving.ready()
    server.fault = 'hang'
    const abort = new AbortController()
    const call = serving.infer('m', { inputs }, { signal: abort.signal })
    await expect.poll(() => server.asked).toHaveLength(1)
    abort.abort()
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    await expect.poll(() => server.hungUp).toBe(1)
  })

  it('ends after attemptTimeoutMs', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: (await startBefore(server)).url, attemptTimeoutMs: 200 })
    await serving.ready()
    server.fault = 'hang'
    await expect(serving.infer('m', { inputs })).rejects.toMatchObject({ code: 'RUN_TIMEOUT' })
    await expect.poll(() => server.hungUp).toBe(1)
  })

  it('says what the server says of an error', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: (await startBefore(server)).url, retries: 0 })
    await serving.ready()
    server.fault = 'refuses'
    const refused = serving.infer('m', { inputs })
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_INPUT' })
    await expect(refused).rejects.toThrow('x is not good')
    server.fault = 'broken'
    await expect(serving.infer('m', { inputs })).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    server.fault = 'busy'
    const busy = serving.infer('m', { inputs })
    await expect(busy).rejects.toMatchObject({ code: 'REMOTE_UNAVAILABLE' })
    await expect(busy).rejects.toThrow(
      'the remote server answered 503: m@1: the remote server answered 503: busy',
    )
  })

  it('goes to the next server where the first is gone, and back once it is there again', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    const [before, other] = [await startBefore(first), await startBefore(second)]
    const serving = servingOf({ urls: [before.url, other.url] })
    await serving.infer('m', { inputs })
    await before.stop()
    await serving.infer('m', { inputs })
    expect([first.asked.length, second.asked.length]).toEqual([1, 1])
    await before.start()
    await expect
      .poll(async () => {
        await serving.infer('m', { inputs })
        return first.asked.length
      })
      .toBe(2)
  })

  it('tells no address to callers where no server is there', async () => {
    const server = await V2Server.start()
    const before = await startBefore(server)
    const serving = servingOf({ url: before.url, retries: 0 })
    await serving.ready()
    await before.stop()
    await expect(serving.infer('m', { inputs })).rejects.toMatchObject({
      code: 'REMOTE_UNAVAILABLE',
      message: 'm@1: the remote server could not be reached, or hung up.',
    })
  })

  it('of a model that the server does not know is not ready', async () => {
    const server = await V2Server.start()
    const { url } = await startBefore(server)
    await expect(servingOf({ url, model: 'none', version: '1' }).ready()).rejects.toThrow('is not ready')
  })
})
