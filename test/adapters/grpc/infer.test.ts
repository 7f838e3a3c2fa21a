import { Metadata, status } from '@grpc/grpc-js'
import { createServing, custom, onnx } from 'mlserving'
import { grpcServer, type GrpcServer } from 'mlserving/grpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { asAny } from '../../contract/serving.js'
import { temporaryFolder } from '../../execution/support.js'
import { quietLogger } from '../../models/quiet-logger.js'
import { writeInto } from '../../models/temporary-repository.js'
import { addInt64, fixedBatch, identityModel, scalarInput, twoInputs } from '../../onnx/models.js'
import { failureOf, float32Bytes, input, TestClient, type Plain } from './client.js'

const folder = temporaryFolder()
const logger = quietLogger()
let serving: AnyServing
let server: GrpcServer
let client: TestClient

beforeAll(async () => {
  for (const [path, bytes] of Object.entries({
    'identity/1': identityModel(),
    'add/1': addInt64(),
    'two/1': twoInputs(),
    'fixed/1': fixedBatch(),
    'scalar/1': scalarInput(),
    'text/1': identityModel({ dtype: 'string' }),
    'half/1': identityModel({ dtype: 'float16' }),
    'bytes/1': identityModel({ dtype: 'uint8' }),
    'flags/1': identityModel({ dtype: 'bool' }),
    'versions/1': identityModel(),
    'versions/2': addInt64(),
    'classes/1': identityModel(),
  })) {
    writeInto(folder, `${path}/model.onnx`, bytes)
  }
  const task = { type: 'classification', output: 'y', classes: ['cat', 'dog', 'owl'] }
  writeInto(folder, 'classes/model.json', { task })
  serving = asAny(
    createServing({
      repository: folder,
      logger,
      models: {
        code: custom({ load: () => 1, run: (_, rows: unknown[]) => rows }),
        checked: onnx({ source: `${folder}/identity`, placement: 'inline' }),
      },
    }),
  )
  await serving.ready()
  server = grpcServer(serving, { port: 0 })
  client = new TestClient(await server.listen())
})
afterAll(async () => {
  client.close()
  await server.close()
  await serving.close()
  expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
})

const x = (...shape: number[]) => input('x', 'FP32', shape)
const one = { model_name: 'identity', inputs: [x(1, 3)], raw_input_contents: [float32Bytes(1, 2, 3)] }

function infer(request: object, metadata?: Metadata): Promise<Plain> {
  return client.call('ModelInfer', request, metadata)
}

describe('a request with raw contents', () => {
  test('is answered with raw contents, by the names of the model and the version that answered', async () => {
    expect(await infer({ ...one, id: 'mine' })).toMatchObject({
      model_name: 'identity',
      model_version: '1',
      id: 'mine',
      outputs: [{ name: 'y', datatype: 'FP32', shape: ['1', '3'], contents: null }],
      raw_output_contents: [float32Bytes(1, 2, 3)],
    })
  })

  test('keeps all bits of NaN, of the infinities and of negative zero', async () => {
    const bits = Buffer.from(Uint32Array.of(0x7fc12345, 0xff800000, 0x80000000).buffer)
    const { raw_output_contents: raws } = await infer({ ...one, raw_input_contents: [bits] })
    expect(raws).toEqual([bits])
  })

  test('keeps 64-bit integers exact', async () => {
    const values = BigInt64Array.of(2n ** 62n + 1n, -(2n ** 63n), 2n ** 53n + 1n)
    const { raw_output_contents: raws } = await infer({
      model_name: 'add',
      inputs: [input('x', 'INT64', [1, 3])],
      raw_input_contents: [Buffer.from(values.buffer)],
    })
    const sums = values.map((value, i) => value + BigInt(i + 1))
    expect(raws).toEqual([Buffer.from(sums.buffer)])
  })

  test('takes texts, which are their length and their UTF-8', async () => {
    const texts = Buffer.from('\x01\0\0\0a\0\0\0\0\x03\0\0\0€')
    const bytes = Buffer.concat([texts.subarray(0, 9), Buffer.from('\x03\0\0\0'), Buffer.from('€')])
    const { outputs, raw_output_contents: raws } = await infer({
      model_name: 'text',
      inputs: [input('x', 'BYTES', [1, 3])],
      raw_input_contents: [bytes],
    })
    expect(outputs).toMatchObject([{ datatype: 'BYTES', shape: ['1', '3'] }])
    expect(raws).toEqual([bytes])
  })

  test('takes several inputs in the order of the contents, whatever their places in the message', async () => {
    const answer = await infer({
      model_name: 'two',
      inputs: [input('b', 'INT64', [1, 1]), input('a', 'FP32', [1, 2])],
      outputs: [{ name: 'next' }, { name: 'sum' }],
      raw_input_contents: [Buffer.from(BigInt64Array.of(10n).buffer), float32Bytes(1, 2)],
    })
    const next = Buffer.from(BigInt64Array.of(11n).buffer)
    expect(answer.raw_output_contents).toEqual([next, float32Bytes(13)])
  })

  test.each([0, 1, 2, 3])('is read the same where its numbers lie %i bytes off', async (length) => {
    const { raw_output_contents: raws } = await infer({ ...one, id: 'i'.repeat(length) })
    expect(raws).toEqual([float32Bytes(1, 2, 3)])
  })

  test.each([
    ['no rows', 'identity', [0, 3], Buffer.alloc(0), Buffer.alloc(0)],
    ['a scalar', 'scalar', [], float32Bytes(7), float32Bytes(14)],
    ['a fixed batch', 'fixed', [1, 4], float32Bytes(1, 2, 3, 4), float32Bytes(2, 4, 6, 8)],
  ])('may have %s', async (_what, model, shape, bytes, expected) => {
    const { outputs, raw_output_contents: raws } = await infer({
      model_name: model,
      inputs: [x(...shape)],
      raw_input_contents: [bytes],
    })
    expect(outputs).toMatchObject([{ shape: shape.map(String) }])
    expect(raws).toEqual([expected])
  })

  test('may ask for a version', async () => {
    await serving.models.load('versions', '1')
    const answer = await infer({ ...one, model_name: 'versions', model_version: '1' })
    expect(answer).toMatchObject({ model_version: '1' })
  })
})

describe('a request with typed contents', () => {
  const typed = (model: string, datatype: string, contents: object): object => ({
    model_name: model,
    inputs: [{ ...input('x', datatype, [1, 3]), contents }],
  })

  test.each([
    [
      'fp32_contents',
      typed('identity', 'FP32', { fp32_contents: [1.5, NaN, -0] }),
      float32Bytes(1.5, NaN, -0),
    ],
    ['bool_contents', typed('flags', 'BOOL', { bool_contents: [true, false, true] }), Buffer.of(1, 0, 1)],
    ['uint_contents', typed('bytes', 'UINT8', { uint_contents: [0, 255, 7] }), Buffer.of(0, 255, 7)],
    [
      'int64_contents',
      typed('add', 'INT64', { int64_contents: ['9007199254740993', '-3', '0'] }),
      Buffer.from(BigInt64Array.of(9007199254740994n, -1n, 3n).buffer),
    ],
    [
      'bytes_contents',
      typed('text', 'BYTES', { bytes_contents: ['a', '', '€'].map((text) => Buffer.from(text)) }),
      Buffer.concat([Buffer.from('\x01\0\0\0a\0\0\0\0\x03\0\0\0'), Buffer.from('€')]),
    ],
  ])('is answered with raw contents: %s', async (_list, request, bytes) => {
    expect((await infer(request)).raw_output_contents).toEqual([bytes])
  })

  test('is answered with typed ones where it asks for no raw ones', async () => {
    const parameters = { binary_data_output: { bool_param: false } }
    const request = typed('add', 'INT64', { int64_contents: ['9007199254740993', '-3', '0'] })
    expect(await infer({ ...request, parameters })).toMatchObject({
      outputs: [{ contents: { int64_contents: ['9007199254740994', '-1', '3'] } }],
      raw_output_contents: [],
    })
    const flags = typed('flags', 'BOOL', { bool_contents: [true, false, true] })
    expect(await infer({ ...flags, parameters })).toMatchObject({
      outputs: [{ contents: { bool_contents: [true, false, true] } }],
    })
  })

  test('is answered with raw ones all the same where an output has no typed ones', async () => {
    const bits = Buffer.from(Uint16Array.of(0x3c00, 0x7e01, 0x8000).buffer)
    const parameters = { binary_data_output: { bool_param: false } }
    const inputs = [input('x', 'FP16', [1, 3])]
    const answer = await infer({ model_name: 'half', parameters, inputs, raw_input_contents: [bits] })
    expect(answer).toMatchObject({ outputs: [{ contents: null }], raw_output_contents: [bits] })
  })

  test.each([0, 1])('may be of an empty tensor, time %i', async () => {
    const inputs = [{ ...x(0, 3), contents: {} }]
    expect(await infer({ model_name: 'identity', inputs })).toMatchObject({
      outputs: [{ shape: ['0', '3'] }],
    })
  })
})

describe('an answer', () => {
  test('has the outputs that were asked for, and classes in the place of scores', async () => {
    const outputs = [{ name: 'y', parameters: { classification: { int64_param: '2' } } }]
    const answer = await infer({ ...one, model_name: 'classes', outputs })
    expect(answer.outputs).toMatchObject([{ name: 'y', datatype: 'BYTES', shape: ['1', '2'] }])
    expect(String(answer.raw_output_contents)).toBe('\x07\0\0\x003:2:owl\x07\0\0\x002:1:dog')
  })

  test('has the id of the request in its metadata, the one that was given where that is safe', async () => {
    const metadata = new Metadata()
    metadata.set('x-request-id', 'abc-1')
    const call = client.call('ModelInfer', one, metadata)
    await call
    expect(call.headers()?.get('x-request-id')).toEqual(['abc-1'])
    metadata.set('x-request-id', 'not safe')
    const other = client.call('ModelInfer', one, metadata)
    await other
    expect(other.headers()?.get('x-request-id')).toEqual([expect.stringMatching(/^[\w-]{36}$/)])
  })
})

const refusals: [what: string, request: object, message: RegExp | string][] = [
  [
    'too few bytes',
    { ...one, raw_input_contents: [float32Bytes(1)] },
    '3 elements of 4 bytes are 12 bytes; got 4',
  ],
  ['too many bytes', { ...one, raw_input_contents: [float32Bytes(1, 2, 3, 4)] }, 'got 16'],
  ['no contents at all', { ...one, raw_input_contents: [] }, 'got 0'],
  [
    'raw contents of too many inputs',
    { ...one, raw_input_contents: [one.raw_input_contents[0], Buffer.of(1)] },
    'one for each of the 1 inputs; got 2',
  ],
  [
    'raw contents beside typed ones',
    { ...one, inputs: [{ ...x(1, 3), contents: { fp32_contents: [1, 2, 3] } }] },
    'input "x" has contents beside raw_input_contents',
  ],
  ['a datatype that is none', { ...one, inputs: [input('x', 'FP8', [1, 3])] }, 'FP8'],
  [
    'a datatype of typed contents that is none',
    { model_name: 'identity', inputs: [input('x', '', [1, 3])] },
    'the datatype must be one of',
  ],
  [
    'a datatype that the model does not take',
    { ...one, inputs: [input('x', 'INT32', [1, 3])] },
    /float32 .*int32/,
  ],
  ['a negative dimension', { ...one, inputs: [x(-1, 3)] }, 'integers of at least 0; got -1'],
  [
    'a dimension beyond all memory',
    { ...one, inputs: [x(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)] },
    'got 12',
  ],
  [
    'a dimension of 64 bits',
    { ...one, inputs: [{ ...x(), shape: ['9223372036854775807'] }] },
    'integers of at least 0',
  ],
  [
    'an input twice',
    {
      ...one,
      inputs: [x(1, 3), x(1, 3)],
      raw_input_contents: [float32Bytes(1, 2, 3), float32Bytes(1, 2, 3)],
    },
    'input "x" is there twice',
  ],
  ['no input', { model_name: 'identity' }, 'input "x" is missing'],
  ['an input that there is not', { ...one, inputs: [input('z', 'FP32', [1, 3])] }, 'input "x" is missing'],
  ['another output', { ...one, outputs: [{ name: 'z' }] }, 'there is no output "z"'],
  ['a wrong shape', { ...one, inputs: [x(3)] }, 'x'],
  [
    'typed contents in another list',
    { model_name: 'identity', inputs: [{ ...x(1, 3), contents: { fp64_contents: [1, 2, 3] } }] },
    'fp32_contents; got fp64_contents',
  ],
  [
    'too few typed contents',
    { model_name: 'identity', inputs: [{ ...x(1, 3), contents: { fp32_contents: [1] } }] },
    'got 4',
  ],
  [
    'a number beyond the range',
    {
      model_name: 'bytes',
      inputs: [{ ...input('x', 'UINT8', [1, 3]), contents: { uint_contents: [1, 256, 3] } }],
    },
    'element 1 is 256',
  ],
  [
    'typed contents of FP16',
    { model_name: 'half', inputs: [{ ...input('x', 'FP16', [1, 3]), contents: { fp32_contents: [1] } }] },
    'FP16 has no typed contents',
  ],
  [
    'a text that is cut off',
    {
      model_name: 'text',
      inputs: [input('x', 'BYTES', [1, 3])],
      raw_input_contents: [Buffer.from('\x05\0\0\0a')],
    },
    'cut off',
  ],
  [
    'a text with a zero byte',
    {
      model_name: 'text',
      inputs: [{ ...input('x', 'BYTES', [1, 1]), contents: { bytes_contents: [Buffer.of(0)] } }],
    },
    'zero byte',
  ],
  [
    'a bool of 2',
    { model_name: 'flags', inputs: [input('x', 'BOOL', [1, 3])], raw_input_contents: [Buffer.of(0, 1, 2)] },
    'got 2 at element 2',
  ],
  ['a sequence', { ...one, parameters: { sequence_id: { int64_param: 5 } } }, 'sequence_id'],
  [
    'shared memory',
    { ...one, inputs: [{ ...x(1, 3), parameters: { shared_memory_region: { string_param: 'r' } } }] },
    'shared memory',
  ],
  [
    'a priority that is none',
    { ...one, parameters: { priority: { string_param: 'high' } } },
    'priority must be an integer',
  ],
  ['a model of code', { ...one, model_name: 'code' }, 'takes no tensors'],
]

test.each(refusals)(
  '%s: INVALID_ARGUMENT, and the message says what is wrong',
  async (_what, request, message) => {
    const { code, details } = await failureOf(infer(request))
    expect({ code, details }).toEqual({
      code: status.INVALID_ARGUMENT,
      details: message instanceof RegExp ? expect.stringMatching(message) : expect.stringContaining(message),
    })
  },
)

test.each([
  ['a model that there is not', { ...one, model_name: 'nobody' }],
  ['a model without a name', { ...one, model_name: '' }],
  ['a model of a name of 4000 letters', { ...one, model_name: '€'.repeat(4000) }],
  ['a version that there is not', { ...one, model_version: '7' }],
  ['a version that is not loaded', { ...one, model_name: 'versions', model_version: '9' }],
])('%s: NOT_FOUND', async (_what, request) => {
  expect((await failureOf(infer(request))).code).toBe(status.NOT_FOUND)
})

test('bytes that are no message: INVALID_ARGUMENT', async () => {
  const { code, details } = await failureOf(client.raw('ModelInfer', Buffer.from([0x0a, 0xff])))
  expect(code).toBe(status.INVALID_ARGUMENT)
  expect(details).toContain('malformed')
})
