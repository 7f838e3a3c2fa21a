import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServing, onnx } from 'mlserving'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ModelOptions } from '../src/models/model-config.js'
import { temporaryFolder } from './execution/support.js'
import { quietLogger } from './models/quiet-logger.js'
import { identityModel } from './onnx/models.js'

const fake = vi.hoisted(() => ({ path: '' }))
vi.mock('../src/execution/runtime.js', () => ({ findRuntime: () => fake.path }))

const folder = temporaryFolder()
const marker = join(folder, 'died')
const source = join(folder, 'model.onnx')
writeFileSync(source, identityModel())

/**
 * Stands in for onnxruntime-node, whose own defects can't be called up at will. It dies of a row that begins with 666,
 * of one that begins with 667 the first time, and never returns from one that begins with 668.
 */
fake.path = join(folder, 'runtime.cjs')
writeFileSync(
  fake.path,
  `const { existsSync, writeFileSync } = require('node:fs')
  const marker = ${JSON.stringify(marker)}
  const metadata = [{ name: 'x', isTensor: true, type: 'float32', shape: ['batch', 3] }]
  const run = async ({ x }) => {
    const first = Array.from(x.data).filter((_, i) => i % 3 === 0)
    while (first.includes(668));
    const isFirst = first.includes(667) && !existsSync(marker)
    if (isFirst) writeFileSync(marker, '')
    if (!isFirst && !first.includes(666)) return { x }
    return new Promise(() => { setImmediate(() => process.exit(3)) })
  }
  exports.InferenceSession = {
    create: async () => ({ inputMetadata: metadata, outputMetadata: metadata, release: async () => {}, run }),
  }`,
)
beforeEach(() => rmSync(marker, { force: true }))

async function serve(options: ModelOptions) {
  const logger = quietLogger()
  const serving = createServing({ models: { m: onnx({ source, intraOpThreads: 1, ...options }) }, logger })
  onTestFinished(() => serving.close())
  await serving.ready()
  const ask = async (first: number, timeoutMs?: number) => {
    const limits = timeoutMs === undefined ? {} : { timeoutMs }
    const { prediction, meta } = await serving.predict('m', { x: [first, 0, 0] }, limits)
    return { first: (prediction as number[])[0], batchRows: meta.batchRows }
  }
  return { serving, logger, ask }
}

describe.each(['thread', 'process'] as const)(
  'a request whose worker dies, in placement %s,',
  (placement) => {
    it('is not run again unless asked for', async () => {
      const { ask } = await serve({ placement })
      await expect(ask(667)).rejects.toMatchObject({ code: 'WORKER_DIED' })
      expect(await ask(667)).toMatchObject({ first: 667 })
    })

    it('is run again as often as was asked for', async () => {
      const { ask } = await serve({ placement, retries: 1 })
      expect(await ask(667)).toMatchObject({ first: 667 })
      await expect(ask(666)).rejects.toMatchObject({ code: 'WORKER_DIED' })
    })

    it('is run again alone, as are those of its batch', async () => {
      const { ask } = await serve({ placement, retries: 1, batching: true })
      const answers = await Promise.all([1, 667, 2, 3].map((first) => ask(first)))
      expect(answers).toEqual([1, 667, 2, 3].map((first) => ({ first, batchRows: 1 })))
      expect(existsSync(marker)).toBe(true)
    })

    it('costs its batch nothing where it kills its worker again: they wait for the reload', async () => {
      const { ask } = await serve({ placement, retries: 1, batching: true })
      const answers = await Promise.allSettled([666, 1, 2].map((first) => ask(first)))
      expect(answers).toMatchObject([
        { status: 'rejected', reason: { code: 'WORKER_DIED' } },
        { status: 'fulfilled', value: { first: 1 } },
        { status: 'fulfilled', value: { first: 2 } },
      ])
    })

    it('is given up at its deadline', async () => {
      const { ask } = await serve({ placement, retries: 10 })
      await expect(ask(666, 1200)).rejects.toMatchObject({ code: 'TIMEOUT' })
    })

    it('is run again by another instance, or by the same once it is back', async () => {
      const { ask } = await serve({ placement, retries: 1, instances: 2 })
      const answers = await Promise.all([667, 1, 2, 3, 4, 5].map((first) => ask(first)))
      expect(answers.map(({ first }) => first)).toEqual([667, 1, 2, 3, 4, 5])
    })

    it('is run again for all who wait for the same answer', async () => {
      const { ask } = await serve({ placement, retries: 1, cache: true })
      const answers = await Promise.all([667, 667].map((first) => ask(first)))
      expect(answers.map(({ first }) => first)).toEqual([667, 667])
    })
  },
)

describe('in a process, a run that takes longer than it may', () => {
  it('costs its own request, which is not run again; those that waited are answered', async () => {
    const { ask, logger } = await serve({ placement: 'process', runTimeoutMs: 300, retries: 3 })
    const answers = await Promise.allSettled([668, 1, 2, 3].map((first) => ask(first)))
    expect(answers).toMatchObject([
      { status: 'rejected', reason: { code: 'RUN_TIMEOUT', retryable: true } },
      { status: 'fulfilled', value: { first: 1 } },
      { status: 'fulfilled', value: { first: 2 } },
      { status: 'fulfilled', value: { first: 3 } },
    ])
    expect(logger.entries).toContainEqual({
      level: 'warn',
      message: expect.stringContaining(
        'a run took longer than 300 ms (runTimeoutMs), and its process was killed',
      ),
    })
  })
})

describe('in a process, a death', () => {
  it('costs the run that computed alone, even without retries', async () => {
    const { ask } = await serve({ placement: 'process' })
    const answers = await Promise.allSettled([666, 1, 2, 3].map((first) => ask(first)))
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
  })
})
