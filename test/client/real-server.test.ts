import { float32, InferenceClient } from 'mlserving/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromFloat16 } from '../../src/tensor/float16.js'
import type { Tensor } from '../../src/tensor/tensor.js'
import type { RunningHost } from '../contract/hosts.js'
import { dtypes, finiteSampleOf, sampleOf } from './dtype-samples.js'
import { serveDtypes } from './serving-of-dtypes.js'

let host: RunningHost
beforeAll(async () => {
  host = await serveDtypes()
})
afterAll(() => host[Symbol.asyncDispose]())

const clientOf = (options = {}) => new InferenceClient({ url: host.origin, ...options })

describe('over a serving, with tensors as bytes', () => {
  it.each(dtypes)('%s comes back bit for bit', async (dtype) => {
    const x = sampleOf(dtype)
    const { outputs, modelVersion } = await clientOf().infer(dtype, { inputs: { x } })
    expect(outputs).toEqual({ y: x })
    expect(modelVersion).toBe('1')
  })

  it('the data is its own, and the input is left as it is', async () => {
    const x = float32([1, 2, 3], [1, 3])
    const { outputs } = await clientOf().infer('float32', { inputs: { x }, outputs: { y: 'float32' } })
    outputs.y.data[0] = 9
    expect(x.data[0]).toBe(1)
  })
})

describe('over a serving, in JSON', () => {
  it.each(dtypes)('%s comes back bit for bit', async (dtype) => {
    const x = finiteSampleOf(dtype)
    const { outputs } = await clientOf({ binary: false }).infer(dtype, { inputs: { x } })
    expect(outputs).toEqual({ y: x })
  })

  it.each(['float32', 'float64', 'float16'] as const)('what %s has beside numbers is NaN', async (dtype) => {
    const request = { inputs: { x: sampleOf(dtype) }, parameters: { binary_data_output: false } }
    const { outputs } = await clientOf({ binary: true }).infer(dtype, request)
    expect(numbersOf(outputs.y ?? expect.fail()).slice(3)).toEqual([NaN, NaN, -0])
  })
})

function numbersOf({ dtype, data }: Tensor): number[] {
  return Array.from(data as Uint16Array, (value) => (dtype === 'float16' ? fromFloat16(value) : value))
}

describe('what a serving says of itself', () => {
  it('is understood', async () => {
    const client = clientOf()
    expect(await client.serverLive()).toBe(true)
    expect(await client.serverReady()).toBe(true)
    expect(await client.modelReady('int64')).toBe(true)
    expect(await client.modelReady('int64', { version: '1' })).toBe(true)
    expect(await client.modelReady('int64', { version: '2' })).toBe(false)
    expect(await client.modelReady('none')).toBe(false)
    expect((await client.serverMetadata()).extensions).toContain('binary_tensor_data')
    expect(await client.modelMetadata('float16', { version: '1' })).toEqual({
      name: 'float16',
      versions: ['1'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'FP16', shape: [-1, 3] }],
      outputs: [{ name: 'y', datatype: 'FP16', shape: [-1, 3] }],
    })
    await client.infer('int8', { inputs: { x: sampleOf('int8') } })
    expect((await client.statistics('int8'))[0]).toMatchObject({ name: 'int8', version: '1' })
    expect(await client.statistics()).toHaveLength(dtypes.length)
  })

  it('of its repository, only those are told who may ask', async () => {
    await expect(clientOf().repositoryIndex()).rejects.toMatchObject({ status: 401 })
    const index = await clientOf({
      headers: { authorization: 'Bearer secret-of-the-test' },
    }).repositoryIndex()
    expect(index.map(({ name }) => name)).toEqual([...dtypes].sort())
  })
})

describe('an error of a serving', () => {
  it('has its status, and its words', async () => {
    const inputs = { x: float32([1], [1, 1]) }
    const wrong = clientOf().infer('float32', { inputs })
    await expect(wrong).rejects.toMatchObject({ code: 'SERVER_ERROR', status: 400, model: 'float32' })
    await expect(wrong).rejects.toThrow('input "x" expects float32 [n, 3]')
    const missing = clientOf().infer('none', { inputs })
    await expect(missing).rejects.toMatchObject({
      status: 404,
      serverMessage: expect.stringContaining('none'),
    })
  })
})
