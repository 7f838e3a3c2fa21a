import { describe, expect, it } from 'vitest'
import { ServingError } from '../../src/errors.js'
import {
  createWithFallback,
  nameOf,
  type Provider,
  type ProviderName,
} from '../../src/execution/providers.js'
import { modelFields, type ModelOptions } from '../../src/models/model-config.js'
import { checkFields } from '../../src/options.js'
import { identityModel, zipMapModel } from '../onnx/models.js'
import { feeds, modelFolder, numbers, openAt } from './support.js'

const write = modelFolder()
const identity = write('identity', identityModel())

describe.each(['thread', 'process', 'inline'] as const)('a session %s', (placement) => {
  it('uses the CPU unless asked otherwise', async () => {
    const session = await openAt[placement](identity)
    expect(session).toMatchObject({ providers: ['cpu'], warnings: [] })
    await session.close()
  })

  it.each<{ providers: Provider[]; missing: string }>([
    { providers: ['cuda', 'cpu'], missing: 'cuda' },
    { providers: ['dml', 'cpu'], missing: 'dml' },
    { providers: [{ name: 'tensorrt', deviceId: 0 }, { name: 'cpu' }], missing: 'tensorrt' },
  ])('does without a provider that is missing, and says so: $missing', async ({ providers, missing }) => {
    const session = await openAt[placement]({ ...identity, providers })
    expect(session.providers).toEqual(['cpu'])
    expect(session.warnings).toEqual([
      expect.stringContaining(`${identity.path}: not using the execution provider "${missing}": `),
    ])
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
    await session.close()
  })

  it('falls back for a model that is rewritten at load, too', async () => {
    const artifact = write('zip-map', zipMapModel())
    const session = await openAt[placement]({ ...artifact, providers: ['cuda', 'cpu'] })
    expect(session.providers).toEqual(['cpu'])
    expect(numbers((await session.run(feeds(1, 4))).outputs, 'probabilities')).toHaveLength(3)
    await session.close()
  })

  it('says why where none of its providers can be had', async () => {
    await expect(openAt[placement]({ ...identity, providers: ['cuda', 'dml'] })).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringMatching(/none of its execution providers .*"dml": this build.*"cuda": /),
    })
  })

  it.each<{ providers: Provider[] }>([{ providers: ['cuda', 'cpu'] }, { providers: ['cuda'] }])(
    'tells of a broken model, not of its providers $providers',
    async ({ providers }) => {
      const artifact = write('broken', new Uint8Array(64).fill(37))
      const broken = await openAt[placement]({ ...artifact, providers }).catch((error: unknown) => error)
      expect(broken).toMatchObject({ code: 'INVALID_MODEL' })
      expect((broken as Error).message).toContain(`${artifact.path} could not be loaded`)
      expect((broken as Error).message).not.toContain('provider "cuda"')
    },
  )
})

describe('the fallback', () => {
  /** A runtime where some providers fail, with the attempts that were made on it. */
  function runtime(reasons: Partial<Record<ProviderName, string>>) {
    const attempts: string[] = []
    const create = async (providers: readonly Provider[]) => {
      attempts.push(providers.map(nameOf).join())
      for (const name of providers.map(nameOf))
        if (reasons[name] !== undefined) throw new Error(reasons[name])
      return providers.map(nameOf)
    }
    const fallback = { path: 'm.onnx', available: undefined, create, release: async () => {} }
    return { attempts, fallback }
  }

  it('keeps the providers that a failure does not speak of', async () => {
    const { attempts, fallback } = runtime({ webgpu: 'no WebGPU adapter\nat line 5' })
    expect(await createWithFallback(['cuda', 'webgpu', 'cpu'], fallback)).toEqual({
      session: ['cuda', 'cpu'],
      providers: ['cuda', 'cpu'],
      warnings: ['m.onnx: not using the execution provider "webgpu": no WebGPU adapter'],
    })
    expect(attempts).toEqual(['cuda,webgpu,cpu', 'cuda,cpu'])
  })

  it('leaves out the first where a failure names none', async () => {
    const { attempts, fallback } = runtime({ cuda: 'failed', qnn: 'failed' })
    const { providers, warnings } = await createWithFallback(['cpu', 'cuda', 'qnn'], fallback)
    expect(providers).toEqual(['cpu'])
    expect(warnings).toHaveLength(2)
    expect(attempts).toEqual(['cpu,cuda,qnn', 'cpu,qnn', 'cpu'])
  })

  it("throws the CPU's own failure as it is", async () => {
    const { attempts, fallback } = runtime({ cpu: 'corrupt', cuda: 'missing' })
    await expect(createWithFallback(['cuda', 'cpu'], fallback)).rejects.toThrow(/^corrupt$/)
    expect(attempts).toEqual(['cuda,cpu', 'cpu'])
    await expect(createWithFallback(['cuda'], fallback)).rejects.toThrow(/^corrupt$/)
  })

  it('takes a provider in the path of a model for no more than a path', async () => {
    const { fallback } = runtime({ qnn: 'models/cuda/m.onnx failed' })
    const { providers } = await createWithFallback(['qnn', 'cuda', 'cpu'], {
      ...fallback,
      path: 'models/cuda/m.onnx',
    })
    expect(providers).toEqual(['cuda', 'cpu'])
  })
})

describe('the option', () => {
  const check = (providers: unknown) => () => {
    checkFields<ModelOptions>({ providers }, modelFields, 'model.json', 'INVALID_CONFIG')
  }

  it('takes names, and objects with the options that onnxruntime-node reads', () => {
    expect(check(['cuda', { name: 'webgpu', enableRobustness: true }, { name: 'cpu' }])).not.toThrow()
  })

  it.each<[unknown, RegExp]>([
    ['cuda', /providers must be a list of execution providers.*got "cuda"/],
    [[], /providers must be a list of execution providers, each once, at least one/],
    [['cpu', { name: 'cpu' }], /each once/],
    [['cdua'], /providers\[0\] must be one of "cpu", "cuda".*got "cdua"/],
    [['cpu', 5], /providers\[1\] must be one of/],
    [
      [{ name: 'cuda', deviceID: 1 }],
      /providers\[0\]: unknown option "deviceID"\. Did you mean "deviceId"\?/,
    ],
    [[{ name: 'cpu', deviceId: 1 }], /unknown option "deviceId"/],
    [[{ deviceId: 1 }], /providers\[0\] must be one of/],
  ])('refuses %j', (providers, message) => {
    expect(check(providers)).toThrow(message)
    expect(check(providers)).toThrow(ServingError)
  })
})
