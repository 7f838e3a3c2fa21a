import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Tensor } from '../../src/tensor/tensor.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { tritonClient } from './python-process.js'
import { numbers, sample } from './samples.js'
import { pairFeeds, statuses, styles, type Subject } from './subject.js'
import {
  TritonClient,
  TritonClientError,
  TritonClientProcess,
  type Inference,
  type Transport,
} from './triton-client.js'

const identity = 'identity_float32'
const x = numbers([2, 3])
const pair = { model: 'pair', inputs: pairFeeds([[1, 2, 2n ** 53n + 1n]]) }

/**
 * What holds of every server of the protocol that serves `identity_<dtype>`, `pair` and `slow`, when tritonclient asks
 * it: of Triton itself, and so of ours.
 */
export function speaksTheProtocol(
  transports: readonly Transport[],
  subject: () => Subject,
  more: (client: () => TritonClient) => void = () => {},
): void {
  let python: TritonClientProcess
  beforeAll(() => {
    python = new TritonClientProcess(tritonClient ?? '')
  })
  afterAll(() => python[Symbol.asyncDispose]())

  for (const transport of transports) {
    describe.each(styles)(`by tritonclient.${transport}, %s`, (style) => {
      const client = () => {
        const address = subject().addresses[transport]
        if (address === undefined) throw new Error(`it does not speak ${transport}`)
        return new TritonClient(python, transport, style, address)
      }
      tells(client)
      infers(client)
      administers(client, subject)
      refuses(client)
      if (transport === 'grpc') callsByGrpc(client)
      more(client)
    })
  }
}

/** An error of the server's. */
export async function failureOf(answer: Promise<unknown>): Promise<TritonClientError> {
  const error: unknown = await answer.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(error instanceof TritonClientError)) throw new Error(`no error of tritonclient's: ${String(error)}`)
  expect(error.kind).toBe('server')
  return error
}

/** gRPC's JSON has 64-bit integers as strings, and lists and zeros left out. */
function plain(shape: unknown): number[] {
  return (shape as (number | string)[]).map(Number)
}

interface PortMetadata {
  readonly name: string
  readonly datatype: string
  readonly shape: unknown
}

function tells(client: () => TritonClient): void {
  it('is live and ready, and so is a model and its version', async () => {
    expect(await client().call('is_server_live')).toBe(true)
    expect(await client().call('is_server_ready')).toBe(true)
    expect(await client().call('is_model_ready', { model_name: identity })).toBe(true)
    expect(await client().call('is_model_ready', { model_name: identity, model_version: '1' })).toBe(true)
  })

  it('is not ready for a model or a version that it does not have', async () => {
    expect(await client().call('is_model_ready', { model_name: 'nope' })).toBe(false)
    expect(await client().call('is_model_ready', { model_name: identity, model_version: '7' })).toBe(false)
  })

  it('says what it is', async () => {
    expect(await client().call('get_server_metadata')).toMatchObject({
      name: expect.stringMatching(/./),
      version: expect.stringMatching(/^\d+\.\d+/),
      extensions: expect.arrayContaining([
        'binary_tensor_data',
        'classification',
        'model_configuration',
        'model_repository',
        'schedule_policy',
        'statistics',
      ]),
    })
  })

  it.each([{}, { model_version: '1' }])("says what a model's tensors are: %o", async (version) => {
    const answer = await client().call('get_model_metadata', { model_name: 'pair', ...version })
    const { inputs, outputs, ...rest } = answer as Record<'inputs' | 'outputs', PortMetadata[]>
    expect(rest).toMatchObject({ name: 'pair', versions: ['1'], platform: expect.stringMatching(/./) })
    const ports = (list: PortMetadata[]) => list.map((port) => ({ ...port, shape: plain(port.shape) }))
    expect(ports(inputs)).toEqual([
      { name: 'a', datatype: 'FP32', shape: [-1, 2] },
      { name: 'b', datatype: 'INT64', shape: [-1, 1] },
    ])
    expect(ports(outputs)).toEqual([
      { name: 'sum', datatype: 'FP32', shape: [-1, 1] },
      { name: 'next', datatype: 'INT64', shape: [-1, 1] },
    ])
  })

  it('says how a model is configured', async () => {
    const answer = await client().call('get_model_config', { model_name: 'pair' })
    const config = client().transport === 'grpc' ? (answer as { config: object }).config : answer
    expect(config).toMatchObject({
      name: 'pair',
      input: [
        { name: 'a', data_type: 'TYPE_FP32' },
        { name: 'b', data_type: 'TYPE_INT64' },
      ],
      output: [
        { name: 'sum', data_type: 'TYPE_FP32' },
        { name: 'next', data_type: 'TYPE_INT64' },
      ],
    })
  })

  it('counts what it answers', async () => {
    const before = await counts(client())
    await client().infer(pair)
    await client().infer(pair)
    const after = await counts(client())
    expect(after).toEqual({
      inferences: before.inferences + 2,
      executions: before.executions + 2,
      successes: before.successes + 2,
    })
  })

  it('counts each of its models', async () => {
    const answer = await client().call('get_inference_statistics')
    const names = (answer as { model_stats: { name: string }[] }).model_stats.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['pair', identity, 'slow']))
  })
}

async function counts(client: TritonClient) {
  const answer = await client.call('get_inference_statistics', { model_name: 'pair' })
  const [statistics] = (answer as { model_stats: Record<string, unknown>[] }).model_stats
  const success = (statistics?.['inference_stats'] as { success: { count?: unknown } } | undefined)?.success
  return {
    inferences: Number(statistics?.['inference_count'] ?? 0),
    executions: Number(statistics?.['execution_count'] ?? 0),
    successes: Number(success?.count ?? 0),
  }
}

function infers(client: () => TritonClient): void {
  describe.each([true, false])('where tensors go and come as bytes: %s', (binary) => {
    // Triton knows no JSON of halves.
    const dtypes = IDENTITY_DTYPES.filter((dtype) => binary || dtype !== 'float16')
    it.each(dtypes)('takes and gives %s exactly', async (dtype) => {
      const isJson = client().transport === 'http' && !binary
      const tensor = sample(dtype, [4, 3], { json: isJson })
      const answer = await client().infer({
        model: `identity_${dtype}`,
        inputs: { x: tensor },
        binary,
        outputs: [{ name: 'y', binary }],
      })
      expect(answer.tensors).toEqual({ y: tensor })
      expect(answer.binary).toEqual({ y: !isJson })
    })
  })

  it('gives what is not asked for in particular as bytes', async () => {
    const { binary, tensors } = await client().infer(pair)
    expect(binary).toEqual({ sum: true, next: true })
    expect(tensors['next']).toEqual({ dtype: 'int64', shape: [1, 1], data: BigInt64Array.of(2n ** 53n + 2n) })
  })

  it('says what answered, and gives the id back', async () => {
    const answer = await client().infer({ ...pair, options: { request_id: 'request 7' } })
    expect(answer).toMatchObject({ id: 'request 7', model_name: 'pair', model_version: '1' })
  })

  it('gives only the outputs that are asked for', async () => {
    const { tensors } = await client().infer({ ...pair, outputs: [{ name: 'next' }] })
    expect(Object.keys(tensors)).toEqual(['next'])
  })

  it('takes and gives bytes and JSON beside each other', async () => {
    const { transport } = client()
    const answer = await client().infer({
      ...pair,
      binary: false,
      outputs: [
        { name: 'sum', binary: true },
        { name: 'next', binary: false },
      ],
    })
    expect(answer.binary).toEqual({ sum: true, next: transport === 'grpc' })
    expect(answer.tensors['next']?.data).toEqual(BigInt64Array.of(2n ** 53n + 2n))
  })

  it('takes the version by name', async () => {
    expect(await client().infer({ ...pair, version: '1' })).toMatchObject({ model_version: '1' })
  })

  it('takes a batch without rows', async () => {
    const { tensors } = await client().infer({ model: identity, inputs: { x: numbers([0, 3]) } })
    expect(tensors['y']).toEqual({ dtype: 'float32', shape: [0, 3], data: new Float32Array() })
  })

  it('takes a priority, a timeout and parameters that mean nothing to it', async () => {
    const options = { priority: 1, timeout: 10_000_000, parameters: { colour: 'red', deep: 3, odd: true } }
    const { tensors } = await client().infer({ model: identity, inputs: { x }, options })
    expect(tensors['y']).toEqual(x)
  })

  it('answers many at once, each its own', async () => {
    const inferences = Array.from({ length: 24 }, (_, i): Inference => {
      const inputs = { x: numbers([1 + (i % 3), 3], i + 1) }
      return { model: identity, inputs, options: { request_id: `${i}` } }
    })
    const answers = await client().inferAtOnce(inferences)
    expect(answers).toMatchObject(
      inferences.map(({ inputs }, i) => ({ value: { id: `${i}`, tensors: { y: inputs['x'] } } })),
    )
  })

  it('answers the requests of a stream of gRPC in their order, wrong ones too', async () => {
    if (client().transport === 'http' || client().style === 'aio') return
    const inferences = Array.from({ length: 5 }, (_, i) => {
      const inputs = { x: numbers([1 + (i % 3), 3], i + 1) }
      return { model: i === 2 ? 'nobody' : identity, inputs, options: { request_id: `${i}` } }
    })
    const outcomes = await client().inferOverStream(inferences)
    expect(outcomes).toMatchObject(
      inferences.map(({ inputs, model }, i) =>
        model === identity
          ? { value: { id: `${i}`, tensors: { y: inputs['x'] } } }
          : { error: { kind: 'server', message: expect.stringContaining(model) } },
      ),
    )
  })

  describe.each(['gzip', 'deflate'])('compressed by %s', (algorithm) => {
    const large = numbers([500, 3])
    const isGrpc = () => client().transport === 'grpc'
    const outputs = [{ name: 'y', binary: false }]

    it.each([true, false])('takes requests, of bytes: %s', async (binary) => {
      const options = isGrpc()
        ? { compression_algorithm: algorithm }
        : { request_compression_algorithm: algorithm }
      const answer = await client().infer({ model: identity, inputs: { x: large }, binary, options })
      expect(answer.tensors['y']).toEqual(large)
    })

    it.each([true, false])('gives answers, of bytes: %s', async (binary) => {
      const options = isGrpc()
        ? { compression_algorithm: algorithm }
        : { response_compression_algorithm: algorithm, request_compression_algorithm: algorithm }
      const inference = { model: identity, inputs: { x: large }, options, ...(binary ? {} : { outputs }) }
      expect((await client().infer(inference)).tensors['y']).toEqual(large)
    })
  })
}

function administers(client: () => TritonClient, subject: () => Subject): void {
  const control = (method: string, model: string) =>
    client().call(method, { model_name: model, headers: subject().administrator })
  const answered = (answer: Promise<{ tensors: Readonly<Record<string, Tensor>> }>) =>
    answer.then(({ tensors }) => tensors['x'] ?? tensors['y'])

  it('lists what it serves', async () => {
    const { transport } = client()
    const answer = await client().call('get_model_repository_index', {
      headers: subject().administrator,
    })
    const models = transport === 'grpc' ? (answer as { models: object[] }).models : answer
    expect(models).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'pair', version: '1', state: 'READY' }),
        expect.objectContaining({ name: identity, version: '1', state: 'READY' }),
      ]),
    )
  })

  it('unloads a model and loads it again', async () => {
    const model = 'identity_uint8'
    const tensor = sample('uint8', [1, 3])
    await control('unload_model', model)
    expect(await client().call('is_model_ready', { model_name: model })).toBe(false)
    const { status } = await failureOf(client().infer({ model, inputs: { x: tensor } }))
    expect(status).toMatch(/^(404|503|StatusCode\.(NOT_FOUND|UNAVAILABLE))$/)
    await control('load_model', model)
    expect(await client().call('is_model_ready', { model_name: model })).toBe(true)
    expect(await answered(client().infer({ model, inputs: { x: tensor } }))).toEqual(tensor)
  })

  it('fails to load what it does not know', async () => {
    expect((await failureOf(control('load_model', 'nope'))).message).toContain('nope')
  })
}

function refuses(client: () => TritonClient): void {
  const refusal = async (inference: Inference, kind: 'invalid' | 'notFound') => {
    const error = await failureOf(client().infer(inference))
    expect(error.status).toBe(statuses[kind][client().transport])
    return error.message
  }

  it('does not find what it does not have', async () => {
    expect(await refusal({ model: 'nope', inputs: { x } }, 'notFound')).toContain('nope')
    expect(await refusal({ model: identity, version: '7', inputs: { x } }, 'notFound')).toContain('7')
    for (const method of ['get_model_metadata', 'get_model_config']) {
      const { status } = await failureOf(client().call(method, { model_name: 'nope' }))
      expect(status).toBe(statuses.notFound[client().transport])
    }
  })

  it.each<[string, Inference, RegExp]>([
    ['an input that is unknown', { model: identity, inputs: { z: x } }, /[xz]/],
    ['an input too many', { model: identity, inputs: { x, z: x } }, /z/],
    ['an input too few', { model: 'pair', inputs: { a: numbers([1, 2]) } }, /b/],
    ['no inputs', { model: identity, inputs: {} }, /x/],
    ['another type', { model: identity, inputs: { x: sample('int32', [2, 3]) } }, /x.*int32/i],
    ['another shape', { model: identity, inputs: { x: numbers([2, 4]) } }, /x.*3.*\[2, ?4\]/],
    ['another rank', { model: identity, inputs: { x: numbers([3]) } }, /x.*3.*\[3\]/],
    ['an unknown output', { model: identity, inputs: { x }, outputs: [{ name: 'q' }] }, /q/],
  ])('refuses %s', async (_, inference, message) => {
    const said = await refusal(inference, 'invalid')
    expect(said).toContain(inference.model)
    expect(said).toMatch(message)
  })
}

function callsByGrpc(client: () => TritonClient): void {
  const slow = { model: 'slow', inputs: { x: numbers([1, 4]) } }

  it("ends a call at the client's deadline", async () => {
    const { status } = await failureOf(client().infer({ ...slow, options: { client_timeout: 0.2 } }))
    expect(status).toBe(statuses.deadline.grpc)
  })
}
