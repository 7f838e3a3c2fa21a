import { status } from '@grpc/grpc-js'
import { createServing, custom } from 'mlserving'
import { grpcServer, type GrpcServer } from 'mlserving/grpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { packageVersion } from '../../../src/version.js'
import { asAny } from '../../contract/serving.js'
import { temporaryFolder } from '../../execution/support.js'
import { ask } from '../../http/client.js'
import { quietLogger } from '../../models/quiet-logger.js'
import { writeInto } from '../../models/temporary-repository.js'
import { identityModel, twoInputs } from '../../onnx/models.js'
import { hosts, type RunningHost } from '../../contract/hosts.js'
import { failureOf, float32Bytes, input, TestClient, type Plain } from './client.js'

const folder = temporaryFolder()
let serving: AnyServing
let server: GrpcServer
let client: TestClient
let http: RunningHost | undefined

beforeAll(async () => {
  writeInto(folder, 'two/1/model.onnx', twoInputs())
  writeInto(folder, 'versions/1/model.onnx', identityModel())
  writeInto(folder, 'versions/2/model.onnx', identityModel({ dtype: 'int64' }))
  writeInto(folder, 'lazy/1/model.onnx', identityModel())
  writeInto(folder, 'lazy/model.json', { lazy: true })
  writeInto(folder, 'broken/1/model.onnx', 'no model')
  serving = asAny(
    createServing({
      repository: folder,
      logger: quietLogger(),
      models: { code: custom({ load: () => 1, run: (_, rows: unknown[]) => rows }) },
    }),
  )
  await serving.ready().catch(() => {}) // but for the broken one
  server = grpcServer(serving, { port: 0, serverName: 'cats' })
  client = new TestClient(await server.listen())
  http = await hosts[0]?.start(serving)
})
afterAll(async () => {
  client.close()
  await http?.[Symbol.asyncDispose]()
  await server.close()
  await serving.close()
})

test('ServerLive and ServerReady say what the health routes do', async () => {
  expect(await client.call('ServerLive')).toEqual({ live: true })
  expect(await client.call('ServerReady')).toEqual({ ready: false })
})

test('ServerMetadata has the name of the options', async () => {
  expect(await client.call('ServerMetadata')).toMatchObject({ name: 'cats', version: packageVersion })
})

describe('ModelReady', () => {
  test.each([
    ['two', '', true],
    ['two', '1', true],
    ['two', 'latest', true],
    ['versions', '1', false],
    ['lazy', '', true],
    ['broken', '', false],
    ['nobody', '', false],
    ['two', '9', false],
  ])('of %s "%s" is %s', async (name, version, ready) => {
    expect(await client.call('ModelReady', { name, version })).toEqual({ ready })
  })
})

test('ModelMetadata says what a model takes and gives', async () => {
  expect(await client.call('ModelMetadata', { name: 'two' })).toEqual({
    name: 'two',
    versions: ['1'],
    platform: 'onnxruntime_onnx',
    inputs: [
      { name: 'a', datatype: 'FP32', shape: ['-1', '2'] },
      { name: 'b', datatype: 'INT64', shape: ['-1', '1'] },
    ],
    outputs: [
      { name: 'sum', datatype: 'FP32', shape: ['-1', '1'] },
      { name: 'next', datatype: 'INT64', shape: ['-1', '1'] },
    ],
  })
  expect(await client.call('ModelMetadata', { name: 'code' })).toMatchObject({ inputs: [], outputs: [] })
  expect((await failureOf(client.call('ModelMetadata', { name: 'nobody' }))).code).toBe(status.NOT_FOUND)
  expect((await failureOf(client.call('ModelMetadata', { name: 'broken' }))).code).toBe(status.UNAVAILABLE)
})

/** What a route answers, with its numbers as texts: 64-bit integers are texts of messages. */
async function overHttp(path: string): Promise<unknown> {
  const { text } = await ask(http?.origin ?? '', path)
  return JSON.parse(text.replace(/(?<=[:[,])-?\d+(?=[,}\]])/g, '"$&"'))
}

test('metadata and statistics are those of the routes', async () => {
  const inputs = [input('a', 'FP32', [2, 2]), input('b', 'INT64', [2, 1])]
  const raw_input_contents = [float32Bytes(1, 2, 3, 4), Buffer.from(BigInt64Array.of(1n, 2n).buffer)]
  await client.call('ModelInfer', { model_name: 'two', inputs, raw_input_contents })
  await failureOf(client.call('ModelInfer', { model_name: 'two' }))
  for (const name of ['two', 'lazy', 'code'])
    expect(await client.call('ModelMetadata', { name })).toEqual(await overHttp(`/v2/models/${name}`))
  const { model_stats } = (await client.call('ModelStatistics', { name: 'two' })) as { model_stats: Plain[] }
  expect({ model_stats }).toEqual(await overHttp('/v2/models/two/stats'))
  expect(model_stats).toMatchObject([
    {
      name: 'two',
      version: '1',
      inference_count: '2',
      execution_count: '1',
      batch_stats: [{ batch_size: '2' }],
    },
  ])
  expect(model_stats).toMatchObject([{ inference_stats: { success: { count: '1' }, fail: { count: '1' } } }])
  const all = await client.call('ModelStatistics')
  expect(all).toEqual(await overHttp('/v2/models/stats'))
  expect((await failureOf(client.call('ModelStatistics', { name: 'nobody' }))).code).toBe(status.NOT_FOUND)
})

test('ModelConfig is what the route says, with the numbers of the types', async () => {
  const { config } = (await client.call('ModelConfig', { name: 'two' })) as { config: Plain }
  const {
    input: inputs,
    instance_group: groups,
    ...route
  } = JSON.parse((await ask(http?.origin ?? '', '/v2/models/two/config')).text) as Plain
  expect(inputs).toMatchObject([{ data_type: 'TYPE_FP32' }, { data_type: 'TYPE_INT64' }])
  expect(groups).toMatchObject([{ kind: 'KIND_CPU' }])
  expect(config).toMatchObject({
    name: 'two',
    platform: 'onnxruntime_onnx',
    backend: 'onnxruntime',
    max_batch_size: route.max_batch_size,
    input: [
      { name: 'a', data_type: 11, dims: ['2'] },
      { name: 'b', data_type: 9, dims: ['1'] },
    ],
    instance_group: [{ kind: 2 }],
  })
})

test.each(['RepositoryIndex', 'RepositoryModelLoad', 'RepositoryModelUnload'])(
  "%s is nobody's to call without the option admin",
  async (method) => {
    const { code, details } = await failureOf(client.call(method, { model_name: 'two' }))
    expect({ code, details }).toEqual({
      code: status.PERMISSION_DENIED,
      details: expect.stringContaining('admin'),
    })
    expect(await client.call('ModelReady', { name: 'two' })).toEqual({ ready: true })
  },
)

test('a method that there is not is UNIMPLEMENTED', async () => {
  const path = '/inference.GRPCInferenceService/Trace'
  expect((await failureOf(client.path(path))).code).toBe(status.UNIMPLEMENTED)
})
