import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as Ort from 'onnxruntime-node'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  IDENTITY_DTYPES,
  addInt64,
  convolution,
  fixedBatch,
  identityModel,
  int4Output,
  loopModel,
  mlp,
  scalarInput,
  sequenceOutput,
  transformer,
  twoInputs,
  zipMapModel,
} from './models.js'
import { bitsOf } from '../v2/conformance-cases.js'

process.env.ORT_DISABLE_TELEMETRY = '1'
let ort: typeof Ort
beforeAll(async () => {
  ort = await import('onnxruntime-node')
})

type Data =
  Ort.TypedTensor<'float32'>['data'] | Ort.TypedTensor<'int64'>['data'] | Uint16Array | readonly string[]

const tensor = (type: string, data: unknown, dims: readonly number[]) =>
  ({ type, data, dims, location: 'cpu' }) as unknown as Ort.InferenceSession.FeedsType[string]

async function run(model: Uint8Array, feeds: Ort.InferenceSession.FeedsType) {
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 })
  try {
    const results = await session.run(feeds)
    const plain = Object.entries(results).map(([name, { type, dims, data }]) => [name, { type, dims, data }])
    return Object.fromEntries(plain) as Record<string, { type: string; dims: readonly number[]; data: Data }>
  } finally {
    await session.release()
  }
}

const samples = {
  float32: Float32Array.of(1.5, -2, 3),
  float64: Float64Array.of(1.5, -2, 3),
  float16: Uint16Array.of(0x3c00, 0x4000, 0),
  int8: Int8Array.of(-128, 0, 127),
  uint8: Uint8Array.of(0, 1, 255),
  int16: Int16Array.of(-32768, 0, 32767),
  uint16: Uint16Array.of(0, 1, 65535),
  int32: Int32Array.of(-1, 0, 1),
  uint32: Uint32Array.of(0, 1, 2 ** 32 - 1),
  int64: BigInt64Array.of(-1n, 0n, 2n ** 62n),
  uint64: BigUint64Array.of(0n, 1n, 2n ** 64n - 1n),
  bool: Uint8Array.of(0, 1, 1),
  string: ['a', '', 'é\u{1f600}'],
}

describe('the test models', () => {
  it.each(IDENTITY_DTYPES)('identityModel gives back %s', async (dtype) => {
    const results = await run(identityModel({ dtype }), { x: tensor(dtype, samples[dtype], [1, 3]) })
    expect(Object.keys(results)).toEqual(['y'])
    expect(results.y).toMatchObject({ type: dtype, dims: [1, 3] })
    expect(bitsOf(dtype, results.y?.data)).toEqual(samples[dtype])
  })

  it('identityModel takes other shapes, a scalar and an open dimension included', async () => {
    const x = tensor('float32', Float32Array.of(7), [])
    expect((await run(identityModel({ shape: [] }), { x })).y?.dims).toEqual([])
    const wide = tensor('float32', new Float32Array(6), [1, 2, 3])
    expect((await run(identityModel({ shape: [1, '', 'wide'] }), { x: wide })).y?.dims).toEqual([1, 2, 3])
  })

  it('mlp treats rows alone, and is the same each time', async () => {
    const x = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i))
    const both = await run(mlp(), { x: tensor('float32', x, [2, 64]) })
    const second = await run(mlp([64, 32, 2]), { x: tensor('float32', x.slice(64), [1, 64]) })
    expect(both.y?.dims).toEqual([2, 2])
    expect(both.y?.data[2]).toBeCloseTo(Number(second.y?.data[0]), 5)
    expect(both.y?.data[0]).not.toBeCloseTo(Number(both.y?.data[2]), 5)
    expect(mlp()).toEqual(mlp())
    expect(mlp([64, 32, 2], 2)).not.toEqual(mlp())
  })

  it('convolution takes 64 numbers a row', async () => {
    const x = Float32Array.from({ length: 128 }, (_, i) => Math.cos(i))
    const { y } = await run(convolution({ size: 16, channels: 8, layers: 2 }), {
      x: tensor('float32', x, [2, 1, 8, 8]),
    })
    expect(y?.dims).toEqual([2, 10])
    expect([...(y?.data as Float32Array)].every((value) => Number.isFinite(value) && value !== 0)).toBe(true)
  })

  it('convolution keeps a core busy for some 25 ms by default', async () => {
    const session = await ort.InferenceSession.create(convolution(), { intraOpNumThreads: 1 })
    const feeds = { x: tensor('float32', new Float32Array(64).fill(0.5), [1, 1, 8, 8]) }
    await session.run(feeds)
    const started = performance.now()
    await session.run(feeds)
    // Wide, for slow and busy machines: what matters is that it is neither 1 ms nor a second.
    expect(performance.now() - started).toBeGreaterThan(5)
    expect(performance.now() - started).toBeLessThan(1000)
    await session.release()
  })

  it('transformer sees each token of a row, and no other row', async () => {
    const options = { layers: 2, length: 4, width: 16, heads: 2 }
    const x = Float32Array.from({ length: 2 * 64 }, (_, i) => Math.sin(i))
    const both = await run(transformer(options), { x: tensor('float32', x, [2, 4, 16]) })
    expect(both.y?.dims).toEqual([2, 10])
    const alone = async (row: Float32Array) =>
      (await run(transformer(options), { x: tensor('float32', row, [1, 4, 16]) })).y?.data[0]
    const second = x.slice(64)
    expect(both.y?.data[10]).toBeCloseTo(Number(await alone(second)), 5)
    expect(both.y?.data[0]).not.toBeCloseTo(Number(both.y?.data[10]), 5)
    for (const token of [0, 3]) {
      const other = second.slice()
      other[token * 16] = 3
      expect(Number(await alone(other))).not.toBeCloseTo(Number(both.y?.data[10]), 5)
    }
    expect(transformer(options)).toEqual(transformer(options))
  })

  it('loopModel gives back its input, later for more ms', async () => {
    const feeds = { x: tensor('float32', Float32Array.of(1, -2, 3, 0.1), [1, 4]) }
    const time = async (ms: number) => {
      const session = await ort.InferenceSession.create(loopModel({ ms }), { intraOpNumThreads: 1 })
      // CPU time: whatever else the machine does is no part of it.
      const started = process.cpuUsage()
      const { y } = await session.run(feeds)
      const { user, system } = process.cpuUsage(started)
      const took = (user + system) / 1000
      expect(y?.data).toEqual(feeds.x.data)
      await session.release()
      return took
    }
    const [short, long] = [await time(10), await time(300)]
    expect(long).toBeGreaterThan(60)
    expect(long).toBeGreaterThan(3 * short)
  })

  it('addInt64 counts exactly beyond 2^53', async () => {
    const x = BigInt64Array.of(0n, -2n, 2n ** 60n)
    const { y } = await run(addInt64(), { x: tensor('int64', x, [1, 3]) })
    expect(y).toEqual({ type: 'int64', dims: [1, 3], data: BigInt64Array.of(1n, 0n, 2n ** 60n + 3n) })
  })

  it('twoInputs gives two outputs', async () => {
    const a = tensor('float32', Float32Array.of(1, 2, 3, 4), [2, 2])
    const b = tensor('int64', BigInt64Array.of(10n, 20n), [2, 1])
    expect(await run(twoInputs(), { a, b })).toEqual({
      sum: { type: 'float32', dims: [2, 1], data: Float32Array.of(13, 27) },
      next: { type: 'int64', dims: [2, 1], data: BigInt64Array.of(11n, 21n) },
    })
  })

  it('fixedBatch takes one row and no more', async () => {
    const { y } = await run(fixedBatch(), { x: tensor('float32', Float32Array.of(1, 2, 3, 4), [1, 4]) })
    expect(y?.data).toEqual(Float32Array.of(2, 4, 6, 8))
    await expect(run(fixedBatch(), { x: tensor('float32', new Float32Array(8), [2, 4]) })).rejects.toThrow(
      /dimension/,
    )
  })

  it('scalarInput takes a single number', async () => {
    const { y } = await run(scalarInput(), { x: tensor('float32', Float32Array.of(21), []) })
    expect(y).toEqual({ type: 'float32', dims: [], data: Float32Array.of(42) })
  })

  it.each([
    ['sequenceOutput', sequenceOutput(), 3],
    ['zipMapModel', zipMapModel(), 4],
    ['zipMapModel with numbers', zipMapModel({ classes: [3, 1] }), 4],
    ['zipMapModel without standard operators', zipMapModel({ standardOpset: false }), 4],
  ])('%s loads, and has an output that onnxruntime-node can not return', async (_, model, columns) => {
    const feeds = { x: tensor('float32', new Float32Array(columns), [1, columns]) }
    await expect(run(model, feeds)).rejects.toThrow(/Non tensor type/)
  })

  it('int4Output loads, and aborts the process that runs it', async () => {
    const session = await ort.InferenceSession.create(int4Output())
    expect(session.outputMetadata).toMatchObject([{ name: 'y', type: 'int4' }])
    await session.release()

    const folder = mkdtempSync(join(tmpdir(), 'mlserving-'))
    try {
      writeFileSync(join(folder, 'model.onnx'), int4Output())
      const script = `
        const ort = require('onnxruntime-node')
        ort.InferenceSession.create(process.argv[1]).then((session) => {
          console.log('loaded')
          return session.run({ x: new ort.Tensor('float32', new Float32Array(2), [1, 2]) })
        })`
      const child = spawnSync(process.execPath, ['-e', script, join(folder, 'model.onnx')], {
        encoding: 'utf8',
      })
      expect(child.stdout).toBe('loaded\n')
      expect(child.signal).toBe('SIGABRT')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
