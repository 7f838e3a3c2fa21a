import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createServing, custom, float32, int64, onnx, pipeline, type Tensor } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository } from './models/temporary-repository.js'
import { addInt64, identityModel, twoInputs } from './onnx/models.js'

type Placement = 'inline' | 'thread' | 'process'

async function serve(bytes: Uint8Array, options: Record<string, unknown> = {}) {
  const source = temporaryRepository({ '1/model.onnx': bytes })
  const serving = createServing({
    models: { m: onnx({ source, placement: 'inline', ...options }) },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  return serving
}

const row = () => float32([1, 2, 3], [1, 3])

describe('infer', () => {
  it('takes tensors and gives tensors, and says how the answer came about', async () => {
    const serving = await serve(addInt64())
    const { outputs, meta } = await serving.infer(
      'm',
      { inputs: { x: int64([2n ** 62n, -1, 0], [1, 3]) } },
      { requestId: 'r' },
    )
    expect(outputs).toEqual({ y: int64([2n ** 62n + 1n, 1, 3], [1, 3]) })
    expect(meta).toMatchObject({ model: 'm', version: '1', requestId: 'r', batchRows: 1 })
  })

  it('gives the outputs that are wanted', async () => {
    const serving = await serve(twoInputs())
    const inputs = { a: float32([1, 2], [1, 2]), b: int64([3], [1, 1]) }
    expect(Object.keys((await serving.infer('m', { inputs })).outputs)).toEqual(['sum', 'next'])
    const { outputs } = await serving.infer('m', { inputs, outputs: ['next'] })
    expect(outputs).toEqual({ next: int64([4], [1, 1]) })
  })

  it("goes past the model's own schema, encode and decode", async () => {
    const serving = await serve(identityModel(), {
      input: z.string(),
      encode: () => {
        throw new Error('never asked')
      },
      decode: () => {
        throw new Error('never asked')
      },
    })
    expect((await serving.infer('m', { inputs: { x: row() } })).outputs).toEqual({ y: row() })
  })

  it.each<Placement>(['inline', 'thread', 'process'])(
    'leaves the arrays of the caller as they are, and takes those that are given away: %s',
    async (placement) => {
      const serving = await serve(identityModel({ shape: ['batch', 'n'] }), { placement })
      const data = Float32Array.from({ length: 5000 }, (_, i) => i)
      const x: Tensor = { dtype: 'float32', shape: [1, 5000], data }
      const pending = serving.infer('m', { inputs: { x } })
      data[0] = 7
      expect((await pending).outputs.y?.data[0]).toBe(0)
      expect(data).toHaveLength(5000)
      const given = await serving.infer('m', { inputs: { x }, transfer: true })
      expect(given.outputs.y?.data[0]).toBe(7)
    },
  )

  it('has what is given away copied where a fallback may need it', async () => {
    const source = temporaryRepository({ '1/model.onnx': identityModel() })
    const broken = temporaryRepository({ '1/model.onnx': 'no model' })
    const serving = createServing({
      models: {
        m: onnx({ source: broken, fallback: 'spare' }),
        spare: onnx({ source, placement: 'thread' }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    const x = row()
    const { outputs, meta } = await serving.infer('m', { inputs: { x }, transfer: true })
    expect(outputs).toEqual({ y: row() })
    expect(meta).toMatchObject({ model: 'spare', degraded: 'fallback' })
    expect(x.data).toHaveLength(3)
  })

  it('shares the cache with predict, and gives each caller an answer of its own', async () => {
    const serving = await serve(identityModel(), { cache: true })
    await serving.predict('m', { x: [1, 2, 3] })
    const first = await serving.infer('m', { inputs: { x: row() } })
    expect(first.meta.cache).toBe('hit')
    first.outputs.y?.data.fill(9 as never)
    expect((await serving.infer('m', { inputs: { x: row() } })).outputs).toEqual({ y: row() })
  })

  it('answers no rows with none', async () => {
    const serving = await serve(identityModel())
    const { outputs, meta } = await serving.infer('m', { inputs: { x: float32([], [0, 3]) } })
    expect(outputs).toEqual({ y: float32([], [0, 3]) })
    expect(meta.batchRows).toBe(0)
  })

  it.each([
    ['no inputs', {}, 'input "x" is missing; it expects float32 [batch, 3]'],
    ['another name', { x: row(), z: row() }, 'there is no input "z"'],
    ['another type', { x: int64([1, 2, 3], [1, 3]) }, 'expects float32 [batch, 3]; got a tensor of int64'],
    ['another shape', { x: float32([1, 2], [1, 2]) }, 'got a tensor of shape [1, 2]'],
    ['too few elements', { x: { ...row(), data: Float32Array.of(1) } }, 'holds 3 values; got 1'],
    ['rows without end', { x: float32([], [2 ** 31, 0]) }, 'shape [2147483648, 0]'],
    ['no tensor', { x: [1, 2, 3] as unknown as Tensor }, 'input "x" is missing'],
  ])('refuses %s', async (_what, inputs: Record<string, Tensor>, message) => {
    const serving = await serve(identityModel())
    const refused = serving.infer('m', { inputs })
    await expect(refused).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(message),
    })
  })

  it('refuses inputs of different rows, and outputs that there are not', async () => {
    const serving = await serve(twoInputs())
    const a = float32([1, 2], [1, 2])
    await expect(serving.infer('m', { inputs: { a, b: int64([1, 2], [2, 1]) } })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: 'm@1: all inputs must have as many rows; "a" has 1, "b" has 2.',
    })
    await expect(
      serving.infer('m', { inputs: { a, b: int64([1], [1, 1]) }, outputs: ['total'] }),
    ).rejects.toMatchObject({ code: 'INVALID_INPUT', message: expect.stringContaining('"total"') })
  })

  it('refuses what is no request', async () => {
    const serving = await serve(identityModel())
    for (const request of [undefined, {}, { inputs: 7 }, { inputs: {}, output: ['y'] }]) {
      await expect(serving.infer('m', request as never)).rejects.toMatchObject({
        code: expect.stringMatching(/^INVALID_(REQUEST|INPUT)$/),
      })
    }
    await expect(serving.infer('m', { inputs: { x: row() } }, { timeoutMs: -1 })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    })
  })

  it('is nothing for code and pipelines, which take what they say', async () => {
    const serving = createServing({
      models: {
        code: custom({ load: () => 1, run: (_, rows: number[]) => rows }),
        line: pipeline(() => Promise.resolve(1)),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    for (const model of ['code', 'line'] as const) {
      await expect(serving.infer(model, { inputs: {} })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        message: expect.stringContaining(`${model}@1 takes no tensors`),
      })
    }
  })
})
