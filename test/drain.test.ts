import { describe, expect, it, onTestFinished } from 'vitest'
import { createServing, custom, onnx, pipeline, type CustomOptions } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository } from './models/temporary-repository.js'
import { identityModel, loopModel } from './onnx/models.js'

/** A serving of one model that answers when the test says so. */
function servingOf(options: { drainTimeoutMs?: number } = {}) {
  const underWay: (() => void)[] = []
  const serving = createServing({
    models: {
      m: custom({
        concurrency: 1,
        load: () => 1,
        run: async (_, rows: number[]) => {
          await new Promise<void>((resolve) => underWay.push(resolve))
          return rows
        },
      }),
    },
    logger: quietLogger(),
    ...options,
  })
  const finish = () => underWay.shift()?.()
  onTestFinished(async () => {
    const closed = serving.close()
    finish()
    await closed
  })
  return { serving, finish }
}

const turn = () => new Promise(setImmediate)
const isSettled = async (promise: Promise<unknown>) => {
  const pending = Symbol('pending')
  await turn()
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

describe('drain', () => {
  it('makes the serving unready, answers what still comes, and settles once nothing is under way', async () => {
    const { serving, finish } = servingOf()
    await serving.ready()
    const first = serving.predict('m', 1)
    const drained = serving.drain()
    expect(serving.readiness()).toMatchObject({ status: 'not_ready', problems: ['the serving is draining'] })
    const late = serving.predict('m', 2)
    await turn()
    finish()
    expect((await first).prediction).toBe(1)
    expect(await isSettled(drained)).toBe(false)
    finish()
    expect((await late).prediction).toBe(2)
    await drained
    expect(serving.drain()).toBe(serving.drain())
  })

  it('settles at once where nothing is under way', async () => {
    const { serving } = servingOf()
    await serving.drain()
    expect(serving.readiness().status).toBe('not_ready')
  })
})

describe('close', () => {
  it('refuses what takes longer than drainTimeoutMs, whether it waits or runs', async () => {
    const { serving } = servingOf({ drainTimeoutMs: 10 })
    await serving.ready()
    const running = serving.predict('m', 1)
    const waiting = serving.predict('m', 2)
    await turn()
    const closed = serving.close()
    await expect(running).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' })
    await closed
    expect(serving.isClosed).toBe(true)
  })

  it.each<[string, Partial<CustomOptions<number, number, number, number>>]>([
    ['load', { load: () => new Promise(() => {}) }],
    ['run', { run: () => new Promise(() => {}) }],
  ])('ends although a %s of the user’s never does, and so does every request', async (_, options) => {
    const serving = createServing({
      models: { m: custom({ load: () => 1, run: (_one, rows: number[]) => rows, ...options }) },
      logger: quietLogger(),
      drainTimeoutMs: 10,
    })
    const answers = Promise.allSettled([
      serving.predict('m', 1),
      serving.predict('m', 2, { timeoutMs: 60_000 }),
    ])
    await turn()
    await serving.close()
    for (const answer of await answers) expect(answer).toMatchObject({ reason: { code: 'CLOSED' } })
  })

  it('ends although an encode never does, and so does the request', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': identityModel() })
    const encode = () => new Promise<never>(() => {})
    const serving = createServing({
      models: { m: onnx({ source: `${root}/m`, placement: 'inline', encode }) },
      logger: quietLogger(),
      drainTimeoutMs: 10,
    })
    await serving.ready()
    const answer = expect(serving.predict('m', {})).rejects.toMatchObject({ code: 'CLOSED' })
    await serving.close()
    await answer
  })

  it('ends although a run in a process never does, and so does the request', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': loopModel({ ms: 600_000 }) })
    const serving = createServing({
      models: { m: onnx({ source: `${root}/m`, placement: 'process', batching: false }) },
      logger: quietLogger(),
      drainTimeoutMs: 200,
    })
    await serving.ready()
    const answer = expect(serving.predict('m', { x: [1, 2, 3, 4] })).rejects.toMatchObject({ code: 'CLOSED' })
    await turn()
    await serving.close()
    await answer
  })

  it.each(['custom', 'pipeline', 'process'])(
    'ends although a run of a %s model never does, whose request was given up',
    async (kind) => {
      const root = temporaryRepository({ 'm/1/model.onnx': loopModel({ ms: 600_000 }) })
      const never = () => new Promise<never>(() => {})
      const models = {
        custom: custom({ load: () => 1, run: never }),
        pipeline: pipeline(never),
        process: onnx({ source: `${root}/m`, placement: 'process', batching: false }),
      }
      const serving = createServing({ models, logger: quietLogger(), drainTimeoutMs: 200 })
      await serving.ready()
      const given = serving.predict(kind as 'custom', { x: [1, 2, 3, 4] }, { timeoutMs: 20 })
      await expect(given).rejects.toMatchObject({ code: 'TIMEOUT' })
      await serving.close()
      expect(serving.models.get(kind as 'custom').versions).toMatchObject([{ state: 'unloaded' }])
    },
  )

  it('is what leaving an `await using` block does', async () => {
    const { serving } = servingOf()
    await serving[Symbol.asyncDispose]()
    await expect(serving.predict('m', 1)).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
