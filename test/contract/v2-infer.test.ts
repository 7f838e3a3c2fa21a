import { deflateSync, gzipSync } from 'node:zlib'
import { createServing, custom, onnx, pipeline } from 'mlserving'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { addInt64, fixedBatch, identityModel, scalarInput, twoInputs } from '../onnx/models.js'
import { errorOf, float32Bytes, infer, inferBinary, partsOf } from '../v2/client.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
const logger = quietLogger()
let serving: AnyServing

beforeAll(async () => {
  for (const [path, bytes] of Object.entries({
    'identity/1': identityModel(),
    'add/1': addInt64(),
    'two/1': twoInputs(),
    'fixed/1': fixedBatch(),
    'scalar/1': scalarInput(),
    'text/1': identityModel({ dtype: 'string' }),
    'half/1': identityModel({ dtype: 'float16' }),
    'wide/1': identityModel({ shape: ['batch', 'n'] }),
    'versions/1': identityModel(),
    'versions/2': addInt64(),
  })) {
    writeInto(folder, `${path}/model.onnx`, bytes)
  }
  writeInto(folder, 'classes/1/model.onnx', identityModel())
  writeInto(
    folder,
    'classes/model.json',
    JSON.stringify({ task: { type: 'classification', output: 'y', classes: ['cat', 'dog', 'owl'] } }),
  )
  serving = asAny(
    createServing({
      repository: folder,
      logger,
      models: {
        code: custom({ load: () => 1, run: (_, rows: unknown[]) => rows }),
        line: pipeline(() => Promise.resolve(1)),
        indecent: onnx({
          source: `${folder}/identity`,
          encode: () => {
            throw new Error('never asked')
          },
        }),
      },
    }),
  )
  await serving.ready()
})
afterAll(async () => {
  await serving.close()
  expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
})

const row = { name: 'x', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] }

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving, { serverName: 'acme' })
  })
  afterAll(() => host[Symbol.asyncDispose]())

  describe('infer', () => {
    test('answers tensors in JSON, and gives the id back', async () => {
      const answer = await infer(host.origin, 'identity', { id: 'a "1"', inputs: [row] })
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
      expect(JSON.parse(answer.text)).toEqual({
        model_name: 'identity',
        model_version: '1',
        id: 'a "1"',
        outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }],
      })
    })

    test('takes nested data', async () => {
      const data = [
        [1, 2, 3],
        [4, 5, 6],
      ]
      const answer = await infer(host.origin, 'identity', { inputs: [{ ...row, shape: [2, 3], data }] })
      expect(partsOf(answer).head.outputs).toEqual([
        { name: 'y', datatype: 'FP32', shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
      ])
    })

    test('answers raw bytes where it is asked for them', async () => {
      const request = {
        parameters: { binary_data_output: true },
        inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', parameters: { binary_data_size: 12 } }],
      }
      const answer = await inferBinary(host.origin, 'identity', request, [float32Bytes(1, NaN, -0)])
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/octet-stream')
      const { head, raws } = partsOf(answer)
      expect(head.outputs).toEqual([
        { name: 'y', datatype: 'FP32', shape: [1, 3], parameters: { binary_data_size: 12 } },
      ])
      expect(raws.y).toEqual(Buffer.from(float32Bytes(1, NaN, -0)))
    })

    test('mixes JSON and raw bytes, and gives the outputs in the order asked for', async () => {
      const answer = await inferBinary(
        host.origin,
        'two',
        {
          inputs: [
            { name: 'b', shape: [2, 1], datatype: 'INT64', data: [7, 8] },
            { name: 'a', shape: [2, 2], datatype: 'FP32', parameters: { binary_data_size: 16 } },
          ],
          outputs: [{ name: 'next', parameters: { binary_data: true } }, { name: 'sum' }],
        },
        [float32Bytes(1, 2, 3, 4)],
      )
      const { head, raws } = partsOf(answer)
      expect(head.outputs).toEqual([
        { name: 'next', datatype: 'INT64', shape: [2, 1], parameters: { binary_data_size: 16 } },
        { name: 'sum', datatype: 'FP32', shape: [2, 1], data: [10, 15] },
      ])
      expect(raws.next?.readBigInt64LE(8)).toBe(9n)
    })

    test('gives only the outputs asked for', async () => {
      const inputs = [
        { name: 'a', shape: [1, 2], datatype: 'FP32', data: [1, 2] },
        { name: 'b', shape: [1, 1], datatype: 'INT64', data: [3] },
      ]
      const answer = await infer(host.origin, 'two', { inputs, outputs: [{ name: 'next' }] })
      expect(partsOf(answer).head.outputs).toEqual([
        { name: 'next', datatype: 'INT64', shape: [1, 1], data: [4] },
      ])
    })

    test('gives all outputs where none is asked for by name', async () => {
      const inputs = [
        { name: 'a', shape: [1, 2], datatype: 'FP32', data: [1, 2] },
        { name: 'b', shape: [1, 1], datatype: 'INT64', data: [3] },
      ]
      for (const outputs of [undefined, [], null]) {
        const answer = await infer(host.origin, 'two', { inputs, outputs })
        expect(partsOf(answer).head.outputs.map(({ name }) => name)).toEqual(['sum', 'next'])
      }
    })

    test('takes null for what may be left out, as clients made of classes send it', async () => {
      const answer = await infer(host.origin, 'identity', {
        id: null,
        parameters: null,
        inputs: [{ ...row, parameters: null }],
        outputs: [{ name: 'y', parameters: { binary_data: null, classification: null } }],
      })
      expect([answer.status, answer.text]).toEqual([
        200,
        '{"model_name":"identity","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}',
      ])
      const parameters = { binary_data_size: 12, priority: null, timeout: null }
      const inputs = [{ ...row, data: null, parameters }]
      const binary = await inferBinary(host.origin, 'identity', { inputs, parameters: { timeout: null } }, [
        float32Bytes(4, 5, 6),
      ])
      expect(partsOf(binary).head.outputs[0]?.data).toEqual([4, 5, 6])
    })

    test('keeps each digit of 64-bit integers, as literals', async () => {
      const text =
        '{"inputs":[{"name":"x","shape":[1,3],"datatype":"INT64","data":[9007199254740993,-9223372036854775808,0]}]}'
      const answer = await infer(host.origin, 'add', text)
      expect(answer.text).toContain('"data":[9007199254740994,-9223372036854775806,3]')
    })

    test('has null for what JSON has no number for, and the sign of zero', async () => {
      const request = {
        inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', parameters: { binary_data_size: 12 } }],
      }
      const special = await inferBinary(host.origin, 'identity', request, [float32Bytes(NaN, -Infinity, -0)])
      expect(special.text).toContain('"data":[null,null,-0]')
    })

    test('takes and gives float16 as numbers', async () => {
      const inputs = [{ name: 'x', shape: [1, 3], datatype: 'FP16', data: [1.5, -65504, 0.1] }]
      const answer = await infer(host.origin, 'half', { inputs })
      expect(partsOf(answer).head.outputs[0]?.data).toEqual([1.5, -65504, 0.0999755859375])
    })

    test('takes and gives texts, as JSON and as raw bytes', async () => {
      const texts = ['a', '', 'žluť🐎']
      const asked = { name: 'x', shape: [1, 3], datatype: 'BYTES' }
      const json = await infer(host.origin, 'text', {
        inputs: [{ ...asked, data: texts }],
        outputs: [{ name: 'y', parameters: { binary_data: true } }],
      })
      const raw = partsOf(json).raws.y ?? Buffer.of()
      const parameters = { binary_data_size: raw.length }
      const back = await inferBinary(host.origin, 'text', { inputs: [{ ...asked, parameters }] }, [raw])
      expect(partsOf(back).head.outputs[0]?.data).toEqual(texts)
    })

    test.each([
      ['gzip', gzipSync],
      ['deflate', deflateSync],
    ])('inflates %s bodies, of JSON and with raw bytes', async (encoding, compress) => {
      const headers = { 'content-encoding': encoding }
      const json = await ask(host.origin, '/v2/models/identity/infer', {
        body: compress(JSON.stringify({ inputs: [row] })),
        headers: { ...headers, 'content-type': 'application/json' },
      })
      expect(json.status).toBe(200)
      const head = JSON.stringify({
        inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', parameters: { binary_data_size: 12 } }],
      })
      const binary = await ask(host.origin, '/v2/models/identity/infer', {
        body: compress(Buffer.concat([Buffer.from(head), float32Bytes(4, 5, 6)])),
        headers: { ...headers, 'inference-header-content-length': head.length },
      })
      expect(partsOf(binary).head.outputs[0]?.data).toEqual([4, 5, 6])
    })

    test('asks a version by its name, and else the one that serves', async () => {
      const inputs = [{ name: 'x', shape: [1, 3], datatype: 'INT64', data: [1, 1, 1] }]
      const latest = await infer(host.origin, 'versions', { inputs })
      expect(JSON.parse(latest.text)).toMatchObject({ model_version: '2', outputs: [{ data: [2, 3, 4] }] })
      await serving.models.load('versions', '1')
      const first = await infer(host.origin, 'versions/versions/1', { inputs: [row] })
      expect(JSON.parse(first.text)).toMatchObject({ model_version: '1', outputs: [{ data: [1, 2, 3] }] })
    })

    test('answers models without rows, and scalars', async () => {
      const fixed = await infer(host.origin, 'fixed', {
        inputs: [{ name: 'x', shape: [1, 4], datatype: 'FP32', data: [1, 2, 3, 4] }],
      })
      expect(partsOf(fixed).head.outputs[0]).toMatchObject({ shape: [1, 4], data: [2, 4, 6, 8] })
      const scalar = await infer(host.origin, 'scalar', {
        inputs: [{ name: 'x', shape: [], datatype: 'FP32', data: [21] }],
      })
      expect(partsOf(scalar).head.outputs[0]).toMatchObject({ shape: [], data: [42] })
    })

    test('answers no rows with none', async () => {
      const answer = await infer(host.origin, 'identity', { inputs: [{ ...row, shape: [0, 3], data: [] }] })
      expect(answer.status).toBe(200)
      expect(partsOf(answer).head.outputs[0]).toMatchObject({ shape: [0, 3], data: [] })
    })

    test('classifies: the highest scores, with their classes where the task names them', async () => {
      const inputs = [{ name: 'x', shape: [2, 3], datatype: 'FP32', data: [0.25, 0.5, 0.125, 3, 2, 3] }]
      const outputs = [{ name: 'y', parameters: { classification: 2 } }]
      const labelled = await infer(host.origin, 'classes', { inputs, outputs })
      expect(partsOf(labelled).head.outputs).toEqual([
        {
          name: 'y',
          datatype: 'BYTES',
          shape: [2, 2],
          data: ['0.5:1:dog', '0.25:0:cat', '3:0:cat', '3:2:owl'],
        },
      ])
      const plain = await infer(host.origin, 'identity', { inputs, outputs })
      expect(partsOf(plain).head.outputs[0]?.data).toEqual(['0.5:1', '0.25:0', '3:0', '3:2'])
    })

    test.each([
      ['no such model', 'identiti', { inputs: [row] }, 404, 'no model "identiti"'],
      ['no such version', 'identity/versions/9', { inputs: [row] }, 404, '9'],
      ['no JSON', 'identity', '{', 400, 'JSON'],
      [
        'NaN',
        'identity',
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}',
        400,
        'JSON',
      ],
      ['no inputs', 'identity', {}, 400, 'inputs must be a list'],
      ['an input missing', 'identity', { inputs: [] }, 400, 'input "x" is missing'],
      ['an unknown input', 'identity', { inputs: [row, { ...row, name: 'z' }] }, 400, 'no input "z"'],
      ['an input twice', 'identity', { inputs: [row, row] }, 400, 'input "x" is there twice'],
      ['an unknown datatype', 'identity', { inputs: [{ ...row, datatype: 'BF16' }] }, 400, 'got "BF16"'],
      [
        'another datatype',
        'identity',
        { inputs: [{ ...row, datatype: 'INT64' }] },
        400,
        'float32 [batch, 3]',
      ],
      ['another shape', 'identity', { inputs: [{ ...row, shape: [3, 1] }] }, 400, 'shape [3, 1]'],
      ['too few data', 'identity', { inputs: [{ ...row, data: [1, 2] }] }, 400, 'got [2]'],
      ['ragged data', 'identity', { inputs: [{ ...row, shape: [2, 3], data: [[1, 2, 3], [4]] }] }, 400, '3'],
      ['a negative shape', 'identity', { inputs: [{ ...row, shape: [-1, 3] }] }, 400, 'got -1'],
      ['a number in quotes', 'identity', { inputs: [{ ...row, data: [1, 2, '3'] }] }, 400, 'got "3"'],
      ['null', 'identity', { inputs: [{ ...row, data: [1, 2, null] }] }, 400, 'got null'],
      ['no float32', 'identity', { inputs: [{ ...row, data: [1, 2, 1e39] }] }, 400, 'range of float32'],
      [
        'rows without end',
        'wide',
        { inputs: [{ ...row, shape: [2 ** 31, 0], data: [] }] },
        400,
        'at most 65536 rows',
      ],
      [
        'a length beyond the runtime',
        'wide',
        { inputs: [{ ...row, shape: [0, 2 ** 53 - 1], data: [] }] },
        400,
        '2147483647',
      ],
      ['an unknown output', 'identity', { inputs: [row], outputs: [{ name: 'q' }] }, 400, 'no output "q"'],
      ['a sequence', 'identity', { parameters: { sequence_id: 7 }, inputs: [row] }, 400, 'sequence_id'],
      [
        'shared memory',
        'identity',
        { inputs: [{ ...row, parameters: { shared_memory_region: 'r' } }] },
        400,
        'r',
      ],
      ['a wrong priority', 'identity', { parameters: { priority: -1 }, inputs: [row] }, 400, 'priority'],
      ['a wrong timeout', 'identity', { parameters: { timeout: '1' }, inputs: [row] }, 400, 'timeout'],
      [
        'raw bytes without the header',
        'identity',
        { inputs: [{ ...row, data: undefined, parameters: { binary_data_size: 12 } }] },
        400,
        'inference-header-content-length',
      ],
      ['code', 'code', { inputs: [row] }, 400, 'takes no tensors'],
      ['a pipeline', 'line', { inputs: [row] }, 400, 'takes no tensors'],
    ])('refuses %s', async (_what, model, request, status, message) => {
      const answer = await infer(host.origin, model, request)
      expect(answer.status).toBe(status)
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
      expect(errorOf(answer)).toEqual(expect.stringContaining(message))
    })

    const sized = (size: unknown) => ({
      inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', parameters: { binary_data_size: size } }],
    })
    test.each([
      ['fewer bytes than they say', sized(12), float32Bytes(1, 2), {}, '8 are left'],
      ['more bytes than they say', sized(12), float32Bytes(1, 2, 3, 4), {}, '4 bytes more'],
      ["sizes that are not the shape's", sized(8), float32Bytes(1, 2), {}, '12 bytes; got 8'],
      ['a size that is no number', sized('12'), float32Bytes(1, 2, 3), {}, 'binary_data_size must be'],
      [
        'both data and bytes',
        { inputs: [{ ...row, parameters: { binary_data_size: 12 } }] },
        float32Bytes(1, 2, 3),
        {},
        'both',
      ],
      [
        'a header that is no number',
        sized(12),
        float32Bytes(1, 2, 3),
        { 'inference-header-content-length': '-1' },
        'got "-1"',
      ],
      [
        'a header beyond the body',
        sized(12),
        float32Bytes(1, 2, 3),
        { 'inference-header-content-length': '900' },
        '900',
      ],
      [
        'a header within the JSON',
        sized(12),
        float32Bytes(1, 2, 3),
        { 'inference-header-content-length': '5' },
        'JSON',
      ],
    ])('refuses raw bytes with %s', async (_what, request, raw, headers, message) => {
      const answer = await inferBinary(host.origin, 'identity', request, [raw], headers)
      expect(answer.status).toBe(400)
      expect(errorOf(answer)).toEqual(expect.stringContaining(message))
    })

    test.each(['text/plain', 'application/x-www-form-urlencoded'])(
      'the body is JSON where its type is %s, as curl sends it',
      async (type) => {
        const answer = await infer(host.origin, 'identity', { inputs: [row] }, { 'content-type': type })
        expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"data":[1,2,3]')])
      },
    )

    test("asks past the model's own encode", async () => {
      expect((await infer(host.origin, 'indecent', { inputs: [row] })).status).toBe(200)
    })

    test('errors of other routes stay problems', async () => {
      const answer = await post(host.origin, '/models/identiti/predict', { x: [1, 2, 3] })
      expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    })
  })

  describe('metadata', () => {
    const get = async (path: string) => {
      const answer = await ask(host.origin, `/v2${path}`)
      return [answer.status, JSON.parse(answer.text) as unknown]
    }

    test('says what the server is', async () => {
      expect(await get('')).toEqual([
        200,
        {
          name: 'acme',
          version: expect.stringMatching(/^\d+\.\d+\.\d+/),
          extensions: [
            'classification',
            'model_configuration',
            'schedule_policy',
            'statistics',
            'binary_tensor_data',
            'generate',
          ],
        },
      ])
    })

    test('is live, and ready once every model serves', async () => {
      expect(await get('/health/live')).toEqual([200, { live: true }])
      expect(await get('/health/ready')).toEqual([200, { ready: true }])
    })

    test('says what a model takes and gives', async () => {
      const expected = {
        name: 'two',
        versions: ['1'],
        platform: 'onnxruntime_onnx',
        inputs: [
          { name: 'a', datatype: 'FP32', shape: [-1, 2] },
          { name: 'b', datatype: 'INT64', shape: [-1, 1] },
        ],
        outputs: [
          { name: 'sum', datatype: 'FP32', shape: [-1, 1] },
          { name: 'next', datatype: 'INT64', shape: [-1, 1] },
        ],
      }
      expect(await get('/models/two')).toEqual([200, expected])
      expect(await get('/models/two/versions/1')).toEqual([200, expected])
    })

    test('says of code that it takes no tensors', async () => {
      expect(await get('/models/code')).toEqual([
        200,
        { name: 'code', versions: ['1'], platform: 'mlserving_custom', inputs: [], outputs: [] },
      ])
      expect(await get('/models/line')).toMatchObject([200, { platform: 'mlserving_pipeline', inputs: [] }])
    })

    test('says whether a model is ready', async () => {
      expect(await get('/models/two/ready')).toEqual([200, { name: 'two', ready: true }])
      expect(await get('/models/two/versions/1/ready')).toEqual([200, { name: 'two', ready: true }])
    })

    test.each([
      '/models/none',
      '/models/two/versions/9',
      '/models/none/ready',
      '/models/two/versions/9/ready',
    ])('does not find %s', async (path) => {
      expect(await get(path)).toEqual([404, { error: expect.any(String) }])
    })
  })
})
