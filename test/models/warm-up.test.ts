import { describe, expect, it, onTestFinished } from 'vitest'
import { custom, onnx } from '../../src/models/definition.js'
import type { ModelManagerOptions } from '../../src/models/manager-options.js'
import { createServing } from '../../src/create-serving.js'
import { float32 } from '../../src/tensor/tensor.js'
import {
  addInt64,
  fixedBatch,
  identityModel,
  imageClassifier,
  mlp,
  scalarInput,
  textClassifier,
  twoInputs,
} from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

function servingOf(options: Exclude<Parameters<typeof createServing>[0], string> & ModelManagerOptions) {
  const serving = createServing({ logger: quietLogger(), ...options })
  onTestFinished(() => serving.close())
  return serving
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

describe('samples', () => {
  it('have run through code of the user’s before the first request is let in', async () => {
    const rows: unknown[] = []
    const serving = servingOf({
      models: {
        m: custom({
          load: () => rows,
          run: (seen, given: string[]) => {
            seen.push(...given)
            return given
          },
          warmUp: ['a', 'b'],
        }),
      },
    })
    await serving.ready()
    expect(rows).toEqual(['a', 'b'])
  })

  it('go through encode and decode, in each instance of the session', async () => {
    const calls: string[] = []
    const serving = servingOf({
      models: {
        m: onnx({
          source: temporaryRepository({ '1/model.onnx': mlp([4, 2]) }),
          instances: 2,
          encode: (input: { x: number[] }) => {
            calls.push('encode')
            return { x: float32(input.x, [1, 4]) }
          },
          decode: () => calls.push('decode'),
          warmUp: [{ x: numbers(4) }],
        }),
      },
    })
    await serving.ready()
    expect(calls.sort()).toEqual(['decode', 'decode', 'encode', 'encode'])
  })

  it('that fail, fail the load, by place and reason, and what was loaded is given back', async () => {
    const given: string[] = []
    const serving = servingOf({
      models: {
        m: custom({
          load: () => 'resource',
          run: (_, rows: string[]) => {
            if (rows.includes('odd')) throw new Error('odd rows are not for me')
            return rows
          },
          dispose: (resource) => void given.push(resource),
          warmUp: ['fine', 'odd'],
        }),
      },
    })
    await expect(serving.ready()).rejects.toThrow('m@1: sample 1 of warmUp failed')
    await expect(serving.models.load('m', '1')).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining('odd rows are not for me') as string,
    })
    expect(given).toEqual(['resource', 'resource'])
  })

  it('of model.json refuse a version that can’t answer them, and the one before serves on', async () => {
    const serving = servingOf({
      repository: temporaryRepository({
        'm/1/model.onnx': mlp([4, 2]),
        'm/2/model.onnx': mlp([3, 2]),
        'm/model.json': { current: '1', warmUp: [{ x: numbers(4) }] },
      }),
    })
    await serving.ready()
    await expect(serving.models.switchVersion('m', '2')).rejects.toThrow(
      'm@2: sample 0 of warmUp failed: m@2: input "x"',
    )
    expect(serving.models.get('m').current).toBe('1')
    await serving.predict('m', { x: numbers(4) } as never)
  })

  it('are no traffic: no run of theirs is counted', async () => {
    const serving = servingOf({
      repository: temporaryRepository({ 'm/1/model.onnx': mlp([4, 2]), 'm/model.json': { warmUp: true } }),
    })
    await serving.ready()
    expect((await serving.metrics.exposition()).body).not.toContain('model_compute_seconds_count{')
  })

  it('that never end hold up no close', async () => {
    const serving = servingOf({
      models: { m: custom({ load: () => 0, run: () => new Promise<never>(() => {}), warmUp: ['a'] }) },
      drainTimeoutMs: 50,
    })
    await serving.models.listed()
    await serving.close()
  })

  it('must be a list of at least one, and nothing is made up for code', () => {
    const options = { load: () => 0, run: () => [] }
    expect(() => custom({ ...options, warmUp: [] })).toThrow('warmUp must be a list of inputs, at least one')
    expect(() => custom({ ...options, warmUp: true as never })).toThrow('warmUp must be a list of inputs')
  })
})

describe('made-up rows', () => {
  const models = {
    'an MLP': mlp(),
    texts: identityModel({ dtype: 'string' }),
    images: imageClassifier(),
    tokens: textClassifier(),
    integers: addInt64(),
    'two inputs': twoInputs(),
    'no batch axis': fixedBatch(),
    'one number': scalarInput(),
  }

  it.each(Object.entries(models))('are taken by a model of %s', async (_, model) => {
    let decoded = 0
    const serving = servingOf({
      models: {
        m: onnx({
          source: temporaryRepository({ '1/model.onnx': model }),
          warmUp: true,
          decode: () => ++decoded,
        }),
      },
    })
    await serving.ready()
    expect(decoded).toBe(2)
  })

  it('run in the session alone where code makes its inputs', async () => {
    let encoded = 0
    const serving = servingOf({
      models: {
        m: onnx({
          source: temporaryRepository({ '1/model.onnx': mlp([4, 2]) }),
          warmUp: true,
          encode: (input: { x: number[] }) => {
            encoded++
            return { x: float32(input.x, [1, 4]) }
          },
        }),
      },
    })
    await serving.ready()
    expect(encoded).toBe(0)
    await serving.predict('m', { x: numbers(4) } as never)
  })
})
