import { describe, expect, it } from 'vitest'
import { BatchPlan } from '../../src/batching/batch-plan.js'
import { Batcher, type BatcherOptions } from '../../src/batching/batcher.js'
import type { Batchable, Executor } from '../../src/batching/executor.js'
import type { ServingError } from '../../src/errors.js'
import { ManualClock } from '../manual-clock.js'

/** A character is a row. */
const texts: Batchable<string, string> = {
  rows: (input) => input.length,
  bytes: (input) => input.length,
  rowElements: () => 0,
  signature: () => '',
  concat: (inputs) => inputs.join(''),
  slice: (input, from, to) => input.slice(from, to),
  sliceResult: (result, from, to) => result.slice(from, to),
  concatResults: (results) => results.join(''),
}

/** For a row of so many elements. */
const wideTexts = (rowElements: number) => ({ ...texts, rowElements: () => rowElements })

const turn = () => new Promise(setImmediate)

const outcomeOf = (answer: Promise<unknown>) =>
  answer.then(
    () => 'answered',
    (error: unknown) => (error as ServingError).code,
  )

/** An executor that answers at once: on the event loop, or where a run takes a permit. */
function prompt(width: number, rowMs = 1) {
  const runs: number[] = []
  const executor: Executor<string, string> = {
    slots: 1,
    width,
    run: (input) => {
      runs.push(input.length)
      return Promise.resolve({ result: input, computeMs: input.length * rowMs })
    },
  }
  return { executor, runs }
}

/** An executor whose runs end when the test says so. */
function manual(options: BatcherOptions, slots = 1) {
  const runs: string[] = []
  const ends: (() => void)[] = []
  const executor: Executor<string, string> = {
    slots,
    width: 1,
    run: (input) => {
      runs.push(input)
      return new Promise((resolve) => ends.push(() => resolve({ result: input, computeMs: 1 })))
    },
  }
  const batcher = new Batcher(executor, texts, options)
  const finish = async () => {
    ends.shift()?.()
    await turn()
  }
  const finishAll = async () => {
    for (await turn(); ends.length > 0;) await finish()
  }
  return { batcher, runs, finish, finishAll }
}

describe('a run holds no more than it may', () => {
  it.each([0, 1])('rows, where an idle executor of width %i is asked for many', async (width) => {
    const { executor, runs } = prompt(width)
    const { result } = await new Batcher(executor, texts, { maxBatchSize: 8 }).submit('x'.repeat(100))
    expect(Math.max(...runs)).toBe(8)
    expect(result).toHaveLength(100)
  })

  it.each([0, 1])('elements, where an idle executor of width %i is asked for many', async (width) => {
    const { executor, runs } = prompt(width)
    const options = { maxBatchSize: 8, maxBatchElements: 35 }
    await new Batcher(executor, wideTexts(10), options).submit('x'.repeat(10))
    expect(runs).toEqual([3, 3, 3, 1])
  })

  it('than it has time for, where batches are learnt', async () => {
    const plan = new BatchPlan({ maxBatchSize: 128, learns: true, longestRunMs: 100 })
    for (let i = 0; i < 4; i++) plan.observe('', 1, 10)
    const { executor, runs } = prompt(1, 10)
    await new Batcher(executor, texts, { plan }).submit('x'.repeat(40))
    expect(runs).toHaveLength(5)
    expect(Math.max(...runs)).toBe(8)
  })

  it('but that a row of more elements is run alone', async () => {
    const { executor, runs } = prompt(1)
    const options = { maxBatchSize: 8, maxBatchElements: 35 }
    await new Batcher(executor, wideTexts(100), options).submit('xxx')
    expect(runs).toEqual([1, 1, 1])
  })
})

describe('a request of more rows than the queue may hold', () => {
  it('lets others in while its parts wait', async () => {
    const { batcher, finish, finishAll } = manual({ maxBatchSize: 4, maxQueueRows: 16 })
    const large = batcher.submit('x'.repeat(100))
    await turn()
    const outcome = outcomeOf(batcher.submit('y'))
    const urgent = outcomeOf(batcher.submit('z', { priority: 0, tenant: 'other' }))
    const middling = outcomeOf(batcher.submit('zzzzzz'))
    for (let i = 0; i < 10; i++) await finish()
    expect(await Promise.all([outcome, urgent, middling])).toEqual(['answered', 'answered', 'answered'])
    await finishAll()
    expect((await large).result).toHaveLength(100)
  })

  it('keeps every slot busy', async () => {
    const { batcher, runs, finish, finishAll } = manual({ maxBatchSize: 4 }, 3)
    const large = batcher.submit('x'.repeat(40))
    await turn()
    expect(runs).toHaveLength(3)
    await finish()
    expect(runs).toHaveLength(4)
    await finishAll()
    await large
  })

  it('is refused at once where it can not meet its deadline as a whole', async () => {
    const clock = new ManualClock()
    const plan = new BatchPlan({ maxBatchSize: 4 })
    for (let i = 0; i < 4; i++) plan.observe('', 4, 40)
    const { batcher, runs } = manual({ plan, clock })
    const large = batcher.submit('x'.repeat(100), { deadlineMs: clock.now() + 500 })
    expect(await outcomeOf(large)).toBe('OVERLOADED')
    expect(runs).toEqual([])
  })

  it('ends with its caller, and no part of it is handed in any more', async () => {
    const { batcher, runs, finishAll } = manual({ maxBatchSize: 4 })
    const caller = new AbortController()
    const outcome = outcomeOf(batcher.submit('x'.repeat(100), { signal: caller.signal }))
    await turn()
    caller.abort()
    expect(await outcome).toBe('ABORTED')
    await finishAll()
    expect(runs).toHaveLength(1)
    expect(batcher.waitingRows).toBe(0)
  })

  it('leaves no room taken once it has failed', async () => {
    const { batcher, finishAll } = manual({ maxBatchSize: 4, maxQueueRows: 16 })
    const first = batcher.submit('x')
    await turn()
    const caller = new AbortController()
    const large = outcomeOf(batcher.submit('x'.repeat(16), { signal: caller.signal }))
    expect(await outcomeOf(batcher.submit('y'))).toBe('QUEUE_FULL')
    caller.abort()
    expect(await large).toBe('ABORTED')
    const whole = batcher.submit('y'.repeat(16))
    await finishAll()
    expect((await whole).result).toHaveLength(16)
    await first
  })
})

describe('a request that is not split', () => {
  it.each([0, 1])(
    'may have as many rows as the queue, also where an executor of width %i is idle',
    async (width) => {
      const { executor, runs } = prompt(width)
      const batcher = new Batcher(executor, texts, { maxQueueRows: 16, label: 'm@1' })
      await batcher.submit('x'.repeat(16))
      await expect(batcher.submit('x'.repeat(17), { whenFull: 'wait' })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message:
          'm@1: the input has 17 rows; without batching, which would split it, at most 16 (maxQueueRows) may come in one request.',
      })
      expect(runs).toEqual([16])
    },
  )

  it('may have more once its plan allows it to be', async () => {
    const plan = new BatchPlan({ maxBatchSize: 8 })
    plan.hold()
    const { executor, runs } = prompt(1)
    const batcher = new Batcher(executor, texts, { plan, maxQueueRows: 16 })
    expect(await outcomeOf(batcher.submit('x'.repeat(17)))).toBe('INVALID_INPUT')
    plan.release()
    expect(await outcomeOf(batcher.submit('x'.repeat(17)))).toBe('answered')
    expect(runs).toEqual([8, 8, 1])
  })
})

describe('maxDelayMs', () => {
  /** Advances the clock by `ms`, one at a time. */
  async function pass(clock: ManualClock, ms: number) {
    for (let i = 0; i < ms; i++) {
      await turn()
      clock.advance(1)
    }
    await turn()
  }

  it('is cut short for a deadline of the first or of one that waits with it', async () => {
    for (const deadlines of [[50], [undefined, 50]]) {
      const clock = new ManualClock()
      const { executor, runs } = prompt(1)
      const batcher = new Batcher(executor, texts, { clock, maxBatchSize: 8, maxDelayMs: 200 })
      const answers = deadlines.map((deadlineMs) =>
        outcomeOf(batcher.submit('a', { deadlineMs: deadlineMs && clock.now() + deadlineMs })),
      )
      await pass(clock, 60)
      expect(await Promise.all(answers)).toEqual(answers.map(() => 'answered'))
      expect(runs).toEqual([deadlines.length])
    }
  })

  it('is cut short also for who is not given up at the deadline, such as the first of those who share a run', async () => {
    const clock = new ManualClock()
    const { executor, runs } = prompt(1)
    const batcher = new Batcher(executor, texts, { clock, maxBatchSize: 8, maxDelayMs: 200 })
    const answer = batcher.submit('a', { wantedByMs: clock.now() + 50 })
    await pass(clock, 60)
    expect(runs).toEqual([1])
    await answer
  })

  it('is waited for as long as the deadline and the cost of a run allow', async () => {
    const clock = new ManualClock()
    const plan = new BatchPlan({ maxBatchSize: 8 })
    for (let i = 0; i < 4; i++) plan.observe('', 1, 10)
    const { executor, runs } = prompt(1)
    const batcher = new Batcher(executor, texts, { clock, plan, maxDelayMs: 200 })
    const answer = batcher.submit('a', { deadlineMs: clock.now() + 100 })
    await pass(clock, 70)
    expect(runs).toEqual([])
    await pass(clock, 20)
    expect(runs).toEqual([1])
    await answer
    const later = batcher.submit('a', { deadlineMs: clock.now() + 1000 })
    await pass(clock, 199)
    expect(runs).toEqual([1])
    await pass(clock, 1)
    await later
  })

  it('is not waited for by parts that fill a run with elements', async () => {
    const clock = new ManualClock()
    const { executor, runs } = prompt(1)
    const options = { clock, maxBatchSize: 64, maxBatchElements: 40, maxDelayMs: 200 }
    const answer = new Batcher(executor, wideTexts(10), options).submit('x'.repeat(40))
    await pass(clock, 0)
    expect(runs.length).toBeGreaterThan(5)
    await pass(clock, 200)
    await answer
  })
})
