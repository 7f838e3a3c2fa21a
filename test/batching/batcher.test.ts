import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Batcher, type BatcherOptions } from '../../src/batching/batcher.js'
import type { Batchable, Executor } from '../../src/batching/executor.js'
import { ServingError } from '../../src/errors.js'
import { ManualClock } from '../manual-clock.js'

/** Rows are numbers; those of a batch have the same sign, and the answer to a row is its double. */
const numbers: Batchable<number[], number[]> = {
  rows: (input) => input.length,
  bytes: (input) => input.length * 8,
  rowElements: () => 0,
  signature: (input) => ((input[0] ?? 0) < 0 ? 'negative' : 'positive'),
  concat: (inputs) => inputs.flat(),
  slice: (input, from, to) => input.slice(from, to),
  sliceResult: (result, from, to) => result.slice(from, to),
  concatResults: (results) => results.flat(),
}

/** Ends a run when the test says so; a row that is `poison` fails its run. */
class ManualExecutor implements Executor<number[], number[]> {
  readonly batches: number[][] = []
  readonly width = 1
  readonly #running: (() => void)[] = []

  constructor(
    readonly slots = 1,
    readonly poison = new Set<number>(),
  ) {}

  run(batch: number[]): Promise<{ result: number[]; computeMs: number }> {
    this.batches.push(batch)
    return new Promise((resolve, reject) => {
      this.#running.push(() => {
        const bad = batch.find((row) => this.poison.has(row))
        if (bad === undefined) resolve({ result: batch.map((row) => row * 2), computeMs: 1 })
        else reject(new ServingError('INFERENCE_FAILED', `row ${bad}`))
      })
    })
  }

  get running(): number {
    return this.#running.length
  }

  async finish(): Promise<void> {
    this.#running.shift()?.()
    await turn()
  }

  async finishAll(): Promise<void> {
    for (;;) {
      await turn()
      if (this.#running.length === 0) return
      await this.finish()
    }
  }
}

const turn = () => new Promise(setImmediate)

function setUp(options: BatcherOptions = {}, slots = 1, poison: number[] = []) {
  const executor = new ManualExecutor(slots, new Set(poison))
  const clock = new ManualClock()
  const batcher = new Batcher(executor, numbers, { maxBatchSize: 4, clock, ...options })
  return { executor, clock, batcher }
}

const resultOf = async (answer: Promise<{ result: number[] }>) => (await answer).result

describe('batches', () => {
  it('form of what was submitted together, and of what arrives during a run', async () => {
    const { executor, batcher } = setUp()
    const first = [batcher.submit([1]), batcher.submit([2])]
    await turn()
    const later = [3, 4, 5].map((row) => batcher.submit([row]))
    await turn()
    expect(executor.batches).toEqual([[1, 2]])
    await executor.finish()
    expect(executor.batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ])
    await executor.finish()
    expect(await Promise.all([...first, ...later].map(resultOf))).toEqual([[2], [4], [6], [8], [10]])
  })

  it('hold at most maxBatchSize rows, and a request is not cut to fill one', async () => {
    const { executor, batcher } = setUp()
    const answers = [[1, 2], [3], [4, 5, 6], [7]].map((input) => batcher.submit(input))
    await executor.finishAll()
    expect(executor.batches).toEqual([
      [1, 2, 3],
      [4, 5, 6, 7],
    ])
    expect(await Promise.all(answers.map(resultOf))).toEqual([[2, 4], [6], [8, 10, 12], [14]])
    expect((await Promise.all(answers)).map((answer) => answer.batchRows)).toEqual([3, 3, 4, 4])
  })

  it('never mix signatures', async () => {
    const { executor, batcher } = setUp()
    const answers = [[1], [-1], [2], [-2]].map((input) => batcher.submit(input))
    await executor.finishAll()
    expect(executor.batches).toEqual([
      [1, 2],
      [-1, -2],
    ])
    await Promise.all(answers)
  })

  it('are of one request each where batching is off', async () => {
    const { executor, batcher } = setUp({ maxBatchSize: 1 }, 2)
    const answers = [[1, 2, 3], [4], [5]].map((input) => batcher.submit(input))
    await executor.finishAll()
    expect(executor.batches).toEqual([[1, 2, 3], [4], [5]])
    await Promise.all(answers)
  })

  it('take requests of a higher priority first', async () => {
    const { executor, batcher } = setUp({ maxBatchSize: 2 })
    const first = batcher.submit([1])
    await turn()
    const answers = [
      batcher.submit([2], { priority: 2 }),
      batcher.submit([3]),
      batcher.submit([4], { priority: 0 }),
    ]
    await executor.finishAll()
    expect(executor.batches).toEqual([[1], [4, 3], [2]])
    await Promise.all([first, ...answers])
  })

  it('split a request above the cap and join its answer', async () => {
    const { executor, batcher } = setUp()
    const answer = batcher.submit([1, 2, 3, 4, 5, 6, 7, 8, 9])
    await executor.finishAll()
    expect(executor.batches).toEqual([[1, 2, 3, 4], [5, 6, 7, 8], [9]])
    expect(await answer).toMatchObject({ result: [2, 4, 6, 8, 10, 12, 14, 16, 18], computeMs: 3 })
  })

  it('wait up to maxDelayMs for more rows, and go as soon as they are full', async () => {
    const { executor, clock, batcher } = setUp({ maxDelayMs: 10, maxBatchSize: 2 })
    const one = batcher.submit([1])
    await turn()
    expect(executor.batches).toEqual([])
    clock.advance(10)
    expect(executor.batches).toEqual([[1]])
    await executor.finish()
    const two = [batcher.submit([2]), batcher.submit([3])]
    await turn()
    expect(executor.batches).toEqual([[1], [2, 3]])
    await executor.finish()
    await Promise.all([one, ...two])
  })
})

describe('a failed batch', () => {
  it('fails only the guilty request, in at most 2 log2(n) more runs', async () => {
    const { executor, batcher } = setUp({ maxBatchSize: 16 }, 1, [11])
    const answers = Array.from({ length: 16 }, (_, row) => batcher.submit([row]))
    const settled = Promise.allSettled(answers)
    await executor.finishAll()
    const outcomes = (await settled).map(({ status }) => status)
    expect(outcomes.filter((status) => status === 'rejected')).toHaveLength(1)
    expect(outcomes[11]).toBe('rejected')
    expect(executor.batches.length - 1).toBeLessThanOrEqual(8)
  })

  it('of which a part of a split request fails, fails that request alone', async () => {
    const { executor, batcher } = setUp({ maxBatchSize: 2 }, 1, [3])
    const settled = Promise.allSettled([batcher.submit([1, 2, 3, 4, 5]), batcher.submit([6])])
    await executor.finishAll()
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    expect(batcher.waitingRows).toBe(0)
  })
})

describe('a full queue', () => {
  it('refuses at once by rows and by bytes, and says when to come again', async () => {
    const { executor, batcher } = setUp({ maxQueueRows: 2, maxQueueBytes: 1000 })
    const answers = [batcher.submit([1, 2, 3])]
    await turn()
    answers.push(batcher.submit([4, 5]))
    await expect(batcher.submit([6])).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      message: 'the queue holds 2 of at most 2 rows and 16 of at most 1000 bytes; 1 more rows do not fit.',
      headers: { 'retry-after': '1' },
    })
    await executor.finishAll()
    await Promise.all(answers)
    const small = setUp({ maxQueueBytes: 8 })
    const more = [small.batcher.submit([1])]
    await turn()
    more.push(small.batcher.submit([2]))
    await expect(small.batcher.submit([3])).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await small.executor.finishAll()
    await Promise.all(more)
  })

  it('lets those wait who want to, in their order, and before newcomers', async () => {
    const { executor, batcher } = setUp({ maxQueueRows: 1, maxBatchSize: 1 })
    const answers = [batcher.submit([1])]
    await turn()
    answers.push(
      batcher.submit([2]),
      batcher.submit([3], { whenFull: 'wait' }),
      batcher.submit([4], { whenFull: 'wait' }),
    )
    await expect(batcher.submit([5])).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await executor.finishAll()
    expect(executor.batches).toEqual([[1], [2], [3], [4]])
    await Promise.all(answers)
  })

  it('counts the parts of requests that were split, in rows and in bytes', async () => {
    const { executor, batcher } = setUp({ maxBatchSize: 2, maxQueueRows: 6 })
    const first = batcher.submit([1])
    await turn()
    const second = batcher.submit([2, 3, 4, 5])
    await expect(batcher.submit([6, 7, 8])).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await executor.finishAll()
    await Promise.all([first, second])

    const bytes = setUp({ maxBatchSize: 2, maxQueueBytes: 40 })
    const answers = [bytes.batcher.submit([1])]
    await turn()
    answers.push(bytes.batcher.submit([2, 3, 4]))
    await expect(bytes.batcher.submit([5, 6, 7])).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await bytes.executor.finishAll()
    await Promise.all(answers)
  })

  it('refuses a large request as a whole rather than a part of it', async () => {
    const { executor, batcher } = setUp({ maxQueueRows: 4 })
    const first = batcher.submit([1])
    await turn()
    await expect(batcher.submit([1, 2, 3, 4, 5])).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    expect(batcher.waitingRows).toBe(0)
    await executor.finishAll()
    await first
  })
})

it('a deadline and an abort take a request out of the queue, and leave no timer behind', async () => {
  const { executor, clock, batcher } = setUp({ maxBatchSize: 1 })
  const caller = new AbortController()
  const first = batcher.submit([1])
  await turn()
  const late = batcher.submit([2], { deadlineMs: 5 })
  const later = batcher.submit([3], { deadlineMs: 8 })
  const aborted = batcher.submit([4], { signal: caller.signal })
  const settled = Promise.allSettled([late, later, aborted])
  clock.advance(5)
  caller.abort()
  clock.advance(3)
  expect(
    (await settled).map((answer) => answer.status === 'rejected' && (answer.reason as ServingError).code),
  ).toEqual(['TIMEOUT', 'TIMEOUT', 'ABORTED'])
  await executor.finishAll()
  await first
  expect(executor.batches).toEqual([[1]])
  expect(clock.timers).toBe(0)
})

it('answers each request exactly once with its own rows, whatever happens to it', async () => {
  const request = fc.record({
    rows: fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 6 }),
    negative: fc.boolean(),
    priority: fc.constantFrom(0 as const, 1 as const, 2 as const),
    deadlineMs: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined }),
    abortAfter: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
    whenFull: fc.constantFrom('reject' as const, 'wait' as const),
    stepsBefore: fc.array(fc.constantFrom('finish', 'turn', 'advance'), { maxLength: 3 }),
  })
  const schedule = fc.record({
    requests: fc.array(request, { minLength: 1, maxLength: 40 }),
    slots: fc.integer({ min: 1, max: 3 }),
    maxBatchSize: fc.integer({ min: 1, max: 5 }),
    maxDelayMs: fc.constantFrom(0, 3),
    maxQueueRows: fc.integer({ min: 1, max: 12 }),
    poison: fc.array(fc.integer({ min: 0, max: 999 }), { maxLength: 20 }),
  })
  let answered = 0
  await fc.assert(
    fc.asyncProperty(schedule, async ({ requests, slots, poison, ...options }) => {
      const { executor, clock, batcher } = setUp(options, slots, poison)
      const settlements: { rows: number[]; count: number; outcome?: number[] | ServingError }[] = []
      const callers: { controller: AbortController; at: number }[] = []
      for (const [
        i,
        { rows: magnitudes, negative, abortAfter, stepsBefore, deadlineMs, ...submit },
      ] of requests.entries()) {
        for (const step of stepsBefore) {
          if (step === 'finish') await executor.finish()
          else if (step === 'advance') clock.advance(2)
          else await turn()
        }
        for (const caller of callers) if (caller.at === i) caller.controller.abort()
        const controller = new AbortController()
        if (abortAfter !== undefined) callers.push({ controller, at: i + abortAfter })
        const rows = negative ? magnitudes.map((row) => -row - 1) : magnitudes
        const settlement: (typeof settlements)[number] = { rows, count: 0 }
        settlements.push(settlement)
        batcher
          .submit([...rows], {
            ...submit,
            signal: controller.signal,
            ...(deadlineMs !== undefined && { deadlineMs: clock.now() + deadlineMs }),
          })
          .then(
            ({ result }) => (settlement.outcome = result),
            (error: unknown) => (settlement.outcome = error as ServingError),
          )
          .finally(() => settlement.count++)
      }
      for (let i = 0; i < 500 && settlements.some(({ count }) => count === 0); i++) {
        clock.advance(3)
        await executor.finishAll()
      }
      for (const { rows, count, outcome } of settlements) {
        expect(count).toBe(1)
        answered++
        if (Array.isArray(outcome)) expect(outcome).toEqual(rows.map((row) => row * 2))
        else if (outcome?.code === 'INVALID_INPUT') {
          expect(options.maxBatchSize).toBe(1)
          expect(rows.length).toBeGreaterThan(options.maxQueueRows)
        } else
          expect(['QUEUE_FULL', 'OVERLOADED', 'TIMEOUT', 'ABORTED', 'INFERENCE_FAILED']).toContain(
            outcome?.code,
          )
        if (!(outcome instanceof ServingError) || outcome.code !== 'INFERENCE_FAILED') continue
        expect(rows.some((row) => poison.includes(row))).toBe(true)
      }
      expect(batcher.waitingRows).toBe(0)
      expect(batcher.waitingBytes).toBe(0)
      expect(executor.batches.every((batch) => new Set(batch.map((row) => row < 0)).size === 1)).toBe(true)
    }),
    { numRuns: 200 },
  )
  expect(answered).toBeGreaterThan(200)
}, 120_000)
