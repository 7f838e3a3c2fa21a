import { createRequire } from 'node:module'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import type { InferenceSession } from 'onnxruntime-node'
import { afterEach, describe, expect, it } from 'vitest'
import { loadRuntime, OnnxSession } from '../../src/execution/onnx.js'
import { findRuntime } from '../../src/execution/runtime.js'
import type { Artifact } from '../../src/execution/session.js'
import type { Feeds } from '../../src/tensor/tensor.js'
import { identityModel, int4Output, sequenceOutput, twoInputs, zipMapModel } from '../onnx/models.js'
import { feeds, modelFolder, numbers, temporaryFolder } from './support.js'

type Runtime = ReturnType<typeof loadRuntime>
type Create = (
  model: string | Uint8Array,
  options: InferenceSession.SessionOptions,
) => Promise<InferenceSession>

const write = modelFolder()
const runtime = loadRuntime(findRuntime())
const create: Create = (model, options) =>
  typeof model === 'string'
    ? runtime.InferenceSession.create(model, options)
    : runtime.InferenceSession.create(model, options)

/** The runtime with another way to create sessions. */
function runtimeThat(creates: Create): Runtime {
  return { InferenceSession: { create: creates } } as Runtime
}

/** A runtime such as those before 1.21, whose sessions tell the names of inputs and outputs and nothing else. */
const terseRuntime = runtimeThat(async (model, options) => {
  const session = await create(model, options)
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    run: session.run.bind(session),
    release: session.release.bind(session),
  } as unknown as InferenceSession
})

const opened: OnnxSession[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.release()))
})

async function open(artifact: Artifact, through = runtime): Promise<OnnxSession> {
  const session = await OnnxSession.create(through, artifact)
  opened.push(session)
  return session
}

describe('the runtime of a thread', () => {
  it('is loaded once', () => {
    expect(loadRuntime(findRuntime())).toBe(runtime)
    expect(loadRuntime('/not/looked/at')).toBe(runtime)
  })

  it('is missing where it has no build for the platform', () => {
    const broken = join(temporaryFolder(), 'broken.cjs')
    writeFileSync(broken, "throw new Error('no binding for this platform')")
    const key = Symbol.for('mlserving.onnxruntime')
    Reflect.deleteProperty(globalThis, key)
    try {
      expect(() => loadRuntime(broken)).toThrow(
        expect.objectContaining({ code: 'RUNTIME_MISSING', message: expect.stringContaining('no binding') }),
      )
    } finally {
      Object.assign(globalThis, { [key]: runtime })
    }
  })

  it('is the one that a user of it has, too', () => {
    expect(createRequire(import.meta.url)('onnxruntime-node')).toBe(runtime)
  })
})

describe('a session of onnxruntime', () => {
  it('takes arrays of another realm', async () => {
    const { runInNewContext } = await import('node:vm')
    const data = runInNewContext('Float32Array.of(1, 2, 3)') as Float32Array
    expect(data).not.toBeInstanceOf(Float32Array)
    const session = await open(write('identity', identityModel()))
    const { outputs } = await session.run({ x: { dtype: 'float32', shape: [1, 3], data } })
    expect(numbers(outputs)).toEqual([1, 2, 3])
  })

  it('is released once, however often it is asked', async () => {
    const session = await OnnxSession.create(runtime, write('identity', identityModel()))
    const released = session.release()
    expect(session.release()).toBe(released)
    await released
    await session.release()
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
  })

  it('has options as the artifact says', async () => {
    let seen: InferenceSession.SessionOptions | undefined
    const watching = runtimeThat((model, options) => {
      seen = options
      return create(model, options)
    })
    const extra = { session: { intra_op: { allow_spinning: '1' } } }
    const session = { graphOptimizationLevel: 'basic', extra } as const
    await open({ ...write('identity', identityModel()), session }, watching)
    expect(seen).toMatchObject({
      graphOptimizationLevel: 'basic',
      extra: { 'session.intra_op.allow_spinning': '1' },
    })
    expect(seen).not.toHaveProperty('executionProviders')
  })

  it('has threads as the artifact says, which do not spin', async () => {
    let seen: InferenceSession.SessionOptions | undefined
    const watching = runtimeThat((model, options) => {
      seen = options
      return create(model, options)
    })
    await open(write('identity', identityModel(), 2), watching)
    expect(seen).toMatchObject({
      intraOpNumThreads: 2,
      extra: { 'session.intra_op.allow_spinning': '0' },
    })
  })

  it.each([
    { what: 'inputs that are missing', given: {} },
    { what: 'another type', given: { x: { dtype: 'float64', shape: [1, 3], data: new Float64Array(3) } } },
    { what: 'another rank', given: feeds(3) },
    {
      what: 'more rows than numbers',
      given: { x: { dtype: 'float32', shape: [2, 3], data: new Float32Array(3) } },
    },
  ] as { what: string; given: Feeds }[])('fails a run with $what, and only that', async ({ given }) => {
    const session = await open(write('identity', identityModel()))
    await expect(session.run(given)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })
})

describe('a model that can not be served', () => {
  const cases = [
    { what: 'an int4 output', bytes: int4Output(), says: 'output "y" is int4' },
    { what: 'a sequence output', bytes: sequenceOutput(), says: 'output "y" is not a tensor' },
  ]
  const runtimes = [
    { name: 'the installed runtime', through: runtime },
    { name: 'a runtime before 1.21', through: terseRuntime },
  ]

  describe.each(runtimes)('in $name', ({ through }) => {
    it.each(cases)('is refused for $what', async ({ what, bytes, says }) => {
      await expect(OnnxSession.create(through, write(what, bytes))).rejects.toMatchObject({
        code: 'INVALID_MODEL',
        message: expect.stringContaining(says),
      })
    })
  })

  it('leaves no session behind, and is told of as it was met', async () => {
    let held = 0
    const counting = runtimeThat(async (model, options) => {
      if (typeof model !== 'string') throw new Error('rewriting broke it')
      const session = await create(model, options)
      const release = session.release.bind(session)
      held++
      session.release = async () => {
        await release()
        held--
      }
      return session
    })
    const refused = (bytes: Uint8Array) => OnnxSession.create(counting, write('refused', bytes))
    await expect(refused(sequenceOutput())).rejects.toMatchObject({ code: 'INVALID_MODEL' })
    await expect(refused(zipMapModel())).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining('rewriting broke it'),
    })
    expect(held).toBe(0)
  })
})

describe('a runtime before 1.21', () => {
  it("is served by the file's own description", async () => {
    const artifact = write('two-inputs', twoInputs())
    const [terse, full] = [await open(artifact, terseRuntime), await open(artifact)]
    expect(terse.signature).toEqual(full.signature)
    const { outputs } = await terse.run({
      a: { dtype: 'float32', shape: [1, 2], data: Float32Array.of(1, 2) },
      b: { dtype: 'int64', shape: [1, 1], data: BigInt64Array.of(3n) },
    })
    expect(numbers(outputs, 'sum')).toEqual([6])
  })

  it.each([{ classes: ['a', 'b', 'c'] }, { classes: [7, 8, 9] }])(
    'has the ZipMap of classes $classes rewritten, too',
    async ({ classes }) => {
      const artifact = write('zip-map', zipMapModel({ classes }))
      const [terse, full] = [await open(artifact, terseRuntime), await open(artifact)]
      expect(terse.signature.classes).toEqual({ probabilities: classes.map(String) })
      expect(terse.signature.classes).toEqual(full.signature.classes)
      expect(terse.signature.outputs.map(({ name, dtype }) => [name, dtype])).toEqual(
        full.signature.outputs.map(({ name, dtype }) => [name, dtype]),
      )
      expect((await terse.run(feeds(2, 4))).outputs).toEqual((await full.run(feeds(2, 4))).outputs)
    },
  )
})
