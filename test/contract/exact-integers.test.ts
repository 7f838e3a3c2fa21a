import { createServing, int64, onnx } from 'mlserving'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { json, post } from '../http/client.js'
import { writeInto } from '../models/temporary-repository.js'
import { addInt64, identityModel } from '../onnx/models.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
let serving: AnyServing

function startLazy() {
  return asAny(
    createServing({
      models: { late: onnx({ source: join(folder, 'add'), placement: 'inline', lazy: true }) },
    }),
  )
}

beforeAll(async () => {
  writeInto(folder, 'add/1/model.onnx', addInt64())
  writeInto(folder, 'unsigned/1/model.onnx', identityModel({ dtype: 'uint64' }))
  writeInto(folder, 'mixed/1/model.onnx', identityModel())
  writeInto(folder, 'mixed/2/model.onnx', addInt64())
  const inline = (name: string) => onnx({ source: join(folder, name), placement: 'inline' })
  const source = join(folder, 'add')
  serving = asAny(
    createServing({
      models: {
        add: inline('add'),
        unsigned: inline('unsigned'),
        mixed: inline('mixed'),
        schema: onnx({
          source,
          placement: 'inline',
          input: z.object({ id: z.number() }),
          encode: ({ id }) => ({ x: int64([id, 0, 0], [1, 3]) }),
        }),
      },
    }),
  )
  await serving.ready()
  await serving.models.load('mixed', '1')
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(() => host[Symbol.asyncDispose]())

  test('an int64 keeps each of its digits, on the way in and out', async () => {
    const text = '{"x":[9007199254740993,-9223372036854775808,9223372036854775800]}'
    const answer = await post(host.origin, '/models/add/predict', text)
    expect(answer.status).toBe(200)
    expect(json(answer).prediction).toEqual([
      '9007199254740994',
      '-9223372036854775806',
      '9223372036854775803',
    ])
  })

  test('a uint64 does too', async () => {
    const answer = await post(host.origin, '/models/unsigned/predict', '{"x":[18446744073709551615,0,1]}')
    expect(json(answer).prediction).toEqual(['18446744073709551615', 0, 1])
  })

  test('every form of a body is exact', async () => {
    for (const [path, text, expected] of [
      [
        '/models/add/predict',
        '{"input":{"x":[9007199254740993,1,1]}}',
        { prediction: ['9007199254740994', 3, 4] },
      ],
      [
        '/models/add/predict',
        '{"instances":[{"x":[9007199254740993,1,1]},{"x":[1,1,1]}]}',
        { predictions: [{ prediction: ['9007199254740994', 3, 4] }, { prediction: [2, 3, 4] }] },
      ],
      [
        '/models/mixed/versions/2/predict',
        '{"x":[9007199254740993,1,1]}',
        { prediction: ['9007199254740994', 3, 4] },
      ],
    ] as const) {
      expect(json(await post(host.origin, path, text))).toMatchObject(expected)
    }
  })

  test('the version that answers decides: floats of as many digits stay numbers', async () => {
    const text = '{"x":[12345678901234567,1.12345678901234567,1]}'
    const answer = await post(host.origin, '/models/mixed/predict', {
      model_version: '1',
      x: [2 ** 60, 1, 1],
    })
    expect(json(answer)).toMatchObject({ prediction: [2 ** 60, 1, 1], model_version: '1' })
    expect((await post(host.origin, '/models/mixed/versions/1/predict', text)).status).toBe(200)
  })

  test('a lazy model is exact from its first request on', async () => {
    await using lazy = startLazy()
    await using ownHost = await start(lazy)
    const answer = await post(ownHost.origin, '/models/late/predict', '{"x":[9007199254740993,1,1]}')
    expect(json(answer)).toMatchObject({ prediction: ['9007199254740994', 3, 4] })
  })

  test('a schema sees numbers, as JSON.parse gives them', async () => {
    const answer = await post(host.origin, '/models/schema/predict', '{"id":9007199254740993}')
    expect(json(answer)).toMatchObject({ prediction: ['9007199254740993', 2, 3] }) // 2^53, and 1
  })

  test.each([
    ['9223372036854775808', 'an integer from -9223372036854775808 to 9223372036854775807'],
    ['1e18', 'beyond 2^53'],
    ['1e30', 'an integer from -9223372036854775808 to 9223372036854775807'],
    ['9'.repeat(400_000), 'an integer from -9223372036854775808 to 9223372036854775807'],
    ['9007199254740993.5', 'beyond 2^53'],
    ['9007199254740993e0', 'beyond 2^53'],
    ['"9007199254740993"', 'an integer'],
  ])('%s is no int64, and refused', async (literal, detail) => {
    const answer = await post(host.origin, '/models/add/predict', `{"x":[${literal},2,3]}`)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_INPUT', detail: expect.stringContaining(detail) })
  })

  test('a model that nobody serves is not found, however long the integers', async () => {
    for (const path of ['/models/none/predict', '/models/add/versions/9/predict']) {
      expect((await post(host.origin, path, '{"x":[9007199254740993,2,3]}')).status).toBe(404)
    }
  })
})
