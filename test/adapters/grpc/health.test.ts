import { describe, expect, test } from 'vitest'
import { identityModel } from '../../onnx/models.js'
import { failureOf } from './client.js'
import { request, start } from './running-server.js'
import { status } from '@grpc/grpc-js'

const [serves, servesNot, unknown] = [1, 2, 3]

describe('the standard health service', () => {
  test.each(['', 'inference.GRPCInferenceService', 'm'])('checks "%s"', async (service) => {
    const { client, serving } = await start()
    expect(await client.call('Check', { service })).toEqual({ status: serves })
    await serving.close()
    expect(await client.call('Check', { service })).toEqual({ status: servesNot })
  })

  test('knows each model for itself', async () => {
    const { client, serving } = await start({}, { 'other/1/model.onnx': identityModel() })
    await serving.models.unload('other')
    expect(await client.call('Check', { service: 'm' })).toEqual({ status: serves })
    expect(await client.call('Check', { service: 'other' })).toEqual({ status: servesNot })
    expect((await failureOf(client.call('Check', { service: 'nobody' }))).code).toBe(status.NOT_FOUND)
  })

  test('lists the whole and each model', async () => {
    const { client, serving } = await start({}, { 'other/1/model.onnx': identityModel() })
    await serving.models.unload('other')
    expect(await client.call('List')).toEqual({
      statuses: {
        '': { status: serves },
        'inference.GRPCInferenceService': { status: serves },
        'grpc.health.v1.Health': { status: serves },
        m: { status: serves },
        other: { status: servesNot },
      },
    })
  })

  test('tells those who watch of each change, and lets them go at the end', async () => {
    const { client, serving, server } = await start()
    const [whole, model, nobody, impatient] = ['', 'm', 'nobody', 'm'].map((service) => client.watch(service))
    await expect
      .poll(() => [whole, model, nobody].map((watch) => watch?.statuses))
      .toEqual([[serves], [serves], [unknown]])
    impatient?.cancel()
    await serving.models.unload('m')
    await expect.poll(() => model?.statuses).toEqual([serves, servesNot])
    await serving.models.load('m', '1', { activate: true })
    await expect.poll(() => model?.statuses).toEqual([serves, servesNot, serves])
    await server.close()
    for (const watch of [whole, model, nobody]) await watch?.ended
    expect(model?.statuses.at(-1)).toBe(servesNot)
  })

  test('says of a serving that drains that it does not serve, while it answers', async () => {
    const { client, serving } = await start()
    await serving.drain()
    expect(await client.call('Check')).toEqual({ status: servesNot })
    expect(await client.call('ServerReady')).toEqual({ ready: false })
    expect(await client.call('ServerLive')).toEqual({ live: true })
    expect(await client.call('ModelInfer', request)).toMatchObject({ model_version: '1' })
  })
})
