import { describe, expect, it } from 'vitest'
import { InferenceClient, InferenceError, type InferenceClientOptions } from '../../src/client/index.js'
import type { DType } from '../../src/tensor/tensor.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { numbers, sample } from './samples.js'
import { pairFeeds, type Subject } from './subject.js'

/** Where the servers differ. */
export interface Traits {
  /** How the client sends tensors where it is not told: as bytes, or as JSON. */
  readonly binary: boolean
  /** The types that the server takes as JSON. */
  readonly jsonDtypes: readonly DType[]
  /** The shape that a server's strings must have. */
  readonly stringShape: readonly number[]
  /** What it names as the versions of `pair`. */
  readonly versions: readonly string[]
  readonly hasStatistics: boolean
}

/** What `mlserving/client` gets of a server that serves `identity_<dtype>`, `pair` and `slow`. */
export function isUnderstoodByTheClient(subject: () => Subject, traits: Traits): void {
  const client = (options: Partial<InferenceClientOptions> = {}) =>
    new InferenceClient({ url: `http://${subject().addresses.http ?? ''}`, ...options })
  const pair = pairFeeds([
    [1, 2, 2n ** 53n + 1n],
    [0.5, 0.25, -3n],
  ])

  it('knows whether the server and its models are ready', async () => {
    expect(await client().serverLive()).toBe(true)
    expect(await client().serverReady()).toBe(true)
    expect(await client().modelReady('pair')).toBe(true)
    expect(await client().modelReady('nope')).toBe(false)
  })

  it('reads what the server and a model are', async () => {
    const { name, version, extensions } = await client().serverMetadata()
    expect(name).not.toBe('')
    expect(version).toMatch(/^\d+\.\d+/)
    expect(extensions.includes('binary_tensor_data')).toBe(traits.binary)
    expect(await client().modelMetadata('pair')).toMatchObject({
      name: 'pair',
      versions: traits.versions,
      inputs: [
        { name: 'a', datatype: 'FP32', shape: [-1, 2] },
        { name: 'b', datatype: 'INT64', shape: [-1, 1] },
      ],
      outputs: [
        { name: 'sum', datatype: 'FP32', shape: [-1, 1] },
        { name: 'next', datatype: 'INT64', shape: [-1, 1] },
      ],
    })
  })

  it(`sends tensors as ${traits.binary ? 'bytes' : 'JSON'} where it is not told how`, async () => {
    const types: unknown[] = []
    const fetch: typeof globalThis.fetch = (url, init) => {
      if (init?.method === 'POST') types.push(new Headers(init.headers).get('content-type'))
      return globalThis.fetch(url, init)
    }
    await client({ fetch }).infer('pair', { inputs: pair })
    expect(types).toEqual([traits.binary ? 'application/octet-stream' : 'application/json'])
  })

  describe.each(traits.binary ? [true, false] : [false])('in bytes: %s', (binary) => {
    it.each(IDENTITY_DTYPES.filter((dtype) => binary || traits.jsonDtypes.includes(dtype)))(
      'sends and receives %s exactly',
      async (dtype) => {
        const shape = dtype === 'string' ? traits.stringShape : [4, 3]
        const x = sample(dtype, shape, { json: !binary })
        const { outputs } = await client({ binary }).infer(`identity_${dtype}`, { inputs: { x } })
        expect(outputs['y']).toMatchObject(x)
      },
    )
  })

  it('types the outputs that it asks for, and gets no others', async () => {
    const asked = { inputs: pair, outputs: { next: 'int64' }, id: 'request 7' } as const
    const { outputs, id, modelName } = await client().infer('pair', asked)
    const next: BigInt64Array = outputs.next.data
    expect(next).toEqual(BigInt64Array.of(2n ** 53n + 2n, -2n))
    expect(Object.keys(outputs)).toEqual(['next'])
    expect({ id, modelName }).toEqual({ id: 'request 7', modelName: 'pair' })
  })

  it('keeps many answers apart', async () => {
    const one = client()
    const tensors = Array.from({ length: 20 }, (_, i) => numbers([1 + (i % 3), 3], i + 1))
    const answers = await Promise.all(tensors.map((x) => one.infer('identity_float32', { inputs: { x } })))
    expect(answers.map(({ outputs }) => outputs['y'])).toMatchObject(tensors)
  })

  it("says in the server's words what it does not have", async () => {
    const error = await failureOf(client().infer('nope', { inputs: pair }))
    expect(error).toMatchObject({ code: 'SERVER_ERROR', status: 404, model: 'nope' })
    expect(error.serverMessage).toMatch(/nope/i)
    expect(await failureOf(client().modelMetadata('nope'))).toMatchObject({
      code: 'SERVER_ERROR',
      status: 404,
    })
  })

  it('gives up at its time, and when it is told to', async () => {
    const inputs = { x: numbers([1, 4]) }
    const late = await failureOf(client().infer('slow', { inputs }, { timeoutMs: 200 }))
    expect(late.code).toBe('TIMEOUT')
    const controller = new AbortController()
    const aborted = failureOf(client().infer('slow', { inputs }, { signal: controller.signal }))
    controller.abort()
    expect((await aborted).code).toBe('ABORTED')
  })

  it('lists the models of the repository', async () => {
    const index = await client().repositoryIndex()
    expect(index).toContainEqual(expect.objectContaining({ name: 'pair', state: 'READY' }))
  })

  if (traits.hasStatistics) {
    it('reads what the server counted', async () => {
      const executions = async () => (await client().statistics('pair'))[0]?.execution_count ?? 0
      const before = await executions()
      await client().infer('pair', { inputs: pair })
      expect(await executions()).toBe(before + 1)
    })
  } else {
    it('tells in an error of its own that the server counts nothing', async () => {
      expect(await failureOf(client().statistics('pair'))).toMatchObject({
        code: 'SERVER_ERROR',
        status: 404,
      })
    })
  }
}

async function failureOf(answer: Promise<unknown>): Promise<InferenceError> {
  const error: unknown = await answer.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!InferenceError.is(error)) throw new Error(`no InferenceError: ${String(error)}`)
  return error
}
