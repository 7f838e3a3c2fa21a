import { describe, expect, it, onTestFinished } from 'vitest'
import { createServing, onnx, type OnnxOptions, type OutputSpec } from '../src/index.js'
import type { Learnt } from '../src/models/learnt.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository, writeInto } from './models/temporary-repository.js'
import { mlp } from './onnx/models.js'

type Options = Pick<OnnxOptions<never, unknown, OutputSpec, never>, 'placement' | 'batching'>

/** One model in a folder, and the servings that serve it one after another. */
class Restarts {
  readonly #root = temporaryRepository({ 'm/1/model.onnx': mlp() })

  constructor(private readonly options: Options) {}

  changeArtifact(): void {
    writeInto(this.#root, 'm/1/model.onnx', mlp([64, 32, 2], 2))
  }

  async start(learned?: Learnt) {
    const m = onnx<{ readonly x: readonly number[] }>({
      source: `${this.#root}/m`,
      ...(this.options as object),
    })
    const serving = createServing({
      models: { m },
      logger: quietLogger(),
      ...(learned !== undefined && { learned }),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    return {
      version: () => serving.models.get('m').versions[0],
      learned: () => JSON.parse(JSON.stringify(serving.models.learned())) as Learnt,
      /** Asks with so many requests under way, until enough was seen. */
      load: async (concurrency: number, isEnough: () => boolean) => {
        const x = Array.from({ length: 64 }, (_, i) => i / 64)
        const caller = async () => {
          while (!isEnough()) await serving.predict('m', { x })
        }
        await Promise.all(Array.from({ length: concurrency }, caller))
      },
      close: () => serving.close(),
    }
  }
}

/** Serves until the batch sizes are known. @returns what was learnt */
async function learnSizes(restarts: Restarts) {
  const first = await restarts.start()
  expect(first.version()?.batchSizes).toBeUndefined()
  await first.load(64, () => first.version()?.batchSizes !== undefined)
  const learned = first.learned()
  await first.close()
  return learned
}

/** Serves until the model has moved inline. @returns what was learnt */
async function learnLayout(restarts: Restarts) {
  const first = await restarts.start()
  expect(first.version()?.placement).toBe('thread')
  await first.load(1, () => first.version()?.placement === 'inline')
  const learned = first.learned()
  await first.close()
  return learned
}

describe('what a serving has learnt under load, as JSON,', () => {
  it('gives the next one the batch sizes from its start', async () => {
    const restarts = new Restarts({ placement: 'thread', batching: true })
    const next = await restarts.start(await learnSizes(restarts))
    expect(next.version()?.batchSizes).toEqual([
      { signature: expect.any(String), bestRows: expect.any(Number), gain: expect.any(Number) },
    ])
  })

  it('gives the next one the layout from its start', async () => {
    const restarts = new Restarts({ batching: false })
    const learned = await learnLayout(restarts)
    const next = await restarts.start(learned)
    expect(next.version()?.placement).toBe('inline')
    expect(next.learned()).toEqual(learned)
  })

  it('is kept by the digest of the artifact', async () => {
    const restarts = new Restarts({ placement: 'thread', batching: true })
    const learned = await learnSizes(restarts)
    const next = await restarts.start(learned)
    expect(Object.keys(learned)).toEqual([next.version()?.sha256])
  })

  it('is nothing to an artifact that has changed, and is kept for when it returns', async () => {
    for (const [options, learn] of [
      [{ placement: 'thread', batching: true }, learnSizes],
      [{ batching: false }, learnLayout],
    ] as const) {
      const restarts = new Restarts(options)
      const learned = await learn(restarts)
      restarts.changeArtifact()
      const next = await restarts.start(learned)
      expect(next.version()).toMatchObject({ state: 'ready', placement: 'thread', instances: 1 })
      expect(next.version()?.batchSizes).toBeUndefined()
      expect(next.learned()).toEqual(learned)
    }
  })
})
