import { createServing, onnx } from 'mlserving'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { ask } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { fixedBatch, identityModel } from '../onnx/models.js'
import { infer } from '../v2/client.js'
import { hosts } from './hosts.js'
import { asAny } from './serving.js'

let serving: AnyServing

beforeEach(async () => {
  const repository = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/model.json': { current: '1', placement: 'inline', batching: { maxBatchSize: 8 } },
    'fixed/1/model.onnx': fixedBatch(),
  })
  const source = `${repository}/m`
  serving = asAny(
    createServing({
      repository,
      models: { kept: onnx({ source, placement: 'inline', cache: true }) },
      logger: quietLogger(),
    }),
  )
  await serving.ready()
})
afterEach(() => serving.close())

const rows = (count: number) => ({
  inputs: [{ name: 'x', shape: [count, 3], datatype: 'FP32', data: Array(count * 3).fill(1) }],
})

async function get(origin: string, path: string): Promise<unknown> {
  const answer = await ask(origin, `/v2/models/${path}`)
  return answer.status === 200 ? JSON.parse(answer.text) : answer.status
}

const none = { count: 0, ns: 0 }
const times = (count: number) => ({ count, ns: expect.any(Number) })

describe.each(hosts)('$name', ({ start }) => {
  test('counts rows, runs by their rows, and failures', async () => {
    await using host = await start(serving)
    const before = Date.now()
    for (const count of [1, 3, 3]) await infer(host.origin, 'm', rows(count))
    await infer(host.origin, 'm', { inputs: [] })
    const own = {
      name: 'm',
      version: '1',
      last_inference: expect.any(Number),
      inference_count: 7,
      execution_count: 3,
      inference_stats: {
        success: times(3),
        fail: times(1),
        queue: times(3),
        compute_input: { count: 3, ns: 0 },
        compute_infer: times(3),
        compute_output: { count: 3, ns: 0 },
        cache_hit: none,
        cache_miss: none,
      },
      batch_stats: [
        {
          batch_size: 1,
          compute_input: { count: 1, ns: 0 },
          compute_infer: times(1),
          compute_output: { count: 1, ns: 0 },
        },
        {
          batch_size: 3,
          compute_input: { count: 2, ns: 0 },
          compute_infer: times(2),
          compute_output: { count: 2, ns: 0 },
        },
      ],
    }
    expect(await get(host.origin, 'm/stats')).toEqual({ model_stats: [own] })
    expect(await get(host.origin, 'm/versions/1/stats')).toEqual({ model_stats: [own] })
    const { model_stats: stats } = (await get(host.origin, 'm/stats')) as {
      model_stats: { last_inference: number; inference_stats: { success: { ns: number } } }[]
    }
    expect(Math.abs((stats[0]?.last_inference ?? 0) - before)).toBeLessThan(60_000)
    expect(stats[0]?.inference_stats.success.ns).toBeGreaterThan(0)
  })

  test('counts what the cache answered neither as rows nor as runs', async () => {
    await using host = await start(serving)
    for (const count of [2, 2, 2]) await infer(host.origin, 'kept', rows(count))
    expect(await get(host.origin, 'kept/stats')).toMatchObject({
      model_stats: [
        {
          inference_count: 2,
          execution_count: 1,
          inference_stats: {
            success: { count: 3 },
            queue: { count: 1 },
            compute_infer: { count: 1 },
            cache_hit: { count: 2 },
            cache_miss: { count: 1 },
          },
        },
      ],
    })
  })

  test('counts of all models that are loaded', async () => {
    await using host = await start(serving)
    const { model_stats: all } = (await get(host.origin, 'stats')) as { model_stats: { name: string }[] }
    expect(all.map(({ name }) => name)).toEqual(['fixed', 'kept', 'm'])
    expect(all[0]).toMatchObject({ last_inference: 0, inference_count: 0, batch_stats: [] })
  })

  test('does not find what is not there', async () => {
    await using host = await start(serving)
    expect(await get(host.origin, 'none/stats')).toBe(404)
    expect(await get(host.origin, 'm/versions/9/stats')).toBe(404)
    expect(await get(host.origin, 'none/config')).toBe(404)
    expect(await get(host.origin, 'm/versions/2/stats')).toMatchObject({ model_stats: [{ version: '2' }] })
  })

  test('says how a model is configured', async () => {
    await using host = await start(serving)
    const expected = {
      name: 'm',
      platform: 'onnxruntime_onnx',
      backend: 'onnxruntime',
      max_batch_size: 8,
      input: [{ name: 'x', data_type: 'TYPE_FP32', dims: [3] }],
      output: [{ name: 'y', data_type: 'TYPE_FP32', dims: [3] }],
      instance_group: [{ kind: 'KIND_CPU', count: 1 }],
    }
    expect(await get(host.origin, 'm/config')).toMatchObject(expected)
    expect(await get(host.origin, 'm/versions/1/config')).toMatchObject(expected)
    expect(await get(host.origin, 'fixed/config')).toMatchObject({
      max_batch_size: 0,
      input: [{ name: 'x', data_type: 'TYPE_FP32', dims: [1, 4] }],
    })
  })
})
