import { describe, expect, it, onTestFinished } from 'vitest'
import { createServing, custom } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'

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
  it('refuses what waits for longer than drainTimeoutMs, and ends once what runs has ended', async () => {
    const { serving, finish } = servingOf({ drainTimeoutMs: 10 })
    await serving.ready()
    const running = serving.predict('m', 1)
    const waiting = serving.predict('m', 2)
    await turn()
    const closed = serving.close()
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await isSettled(closed)).toBe(false)
    finish()
    expect((await running).prediction).toBe(1)
    await closed
    expect(serving.isClosed).toBe(true)
  })

  it('is what leaving an `await using` block does', async () => {
    const { serving } = servingOf()
    await serving[Symbol.asyncDispose]()
    await expect(serving.predict('m', 1)).rejects.toMatchObject({ code: 'CLOSED' })
  })
})
