import { describe, expect, it } from 'vitest'
import { Batcher, type BatcherOptions } from '../../src/batching/batcher.js'
import { BatchPlan } from '../../src/batching/batch-plan.js'
import type { Batchable, Executor } from '../../src/batching/executor.js'
import { ServingError } from '../../src/errors.js'
import { ManualClock } from '../manual-clock.js'

const texts: Batchable<string, string> = {
  rows: () => 1,
  bytes: () => 1,
  rowElements: () => 0,
  signature: () => '',
  concat: (inputs) => inputs.join(''),
  slice: (input, from, to) => input.slice(from, to),
  sliceResult: (result, from, to) => result.slice(from, to),
  concatResults: (results) => results.join(''),
}

const runMs = 10

/** A model that takes ten milliseconds of the clock for a run, one after another. */
class TimedExecutor implements Executor<string, string> {
  readonly slots = 1
  readonly width = 1
  readonly runs: string[] = []

  constructor(private readonly clock: ManualClock) {}

  run(input: string) {
    this.runs.push(input)
    return new Promise<{ result: string; computeMs: number }>((resolve) => {
      this.clock.setTimer(() => resolve({ result: input, computeMs: runMs }), runMs)
    })
  }
}

const turn = () => new Promise(setImmediate)

async function setUp(options: BatcherOptions = {}) {
  const clock = new ManualClock()
  const executor = new TimedExecutor(clock)
  const batcher = new Batcher(executor, texts, { plan: new BatchPlan(), clock, ...options })
  const pass = async (ms: number) => {
    for (let i = 0; i < ms; i++) {
      await turn()
      clock.advance(1)
    }
    await turn()
  }
  // It has run before, so that it is known what a run takes.
  const first = batcher.submit('0')
  await pass(20)
  await first
  executor.runs.length = 0
  return { clock, executor, batcher, pass, in: (ms: number) => ({ deadlineMs: clock.now() + ms }) }
}

describe('a deadline', () => {
  it('that what waits before makes impossible is refused at once, and costs no run', async () => {
    const { batcher, executor, pass, in: due } = await setUp()
    const answers = ['a', 'b', 'c'].map((input) => batcher.submit(input))
    await turn()
    await expect(batcher.submit('d', due(25))).rejects.toMatchObject({
      code: 'OVERLOADED',
      message: 'an answer would take about 40 ms, and the deadline is in 25 ms.',
      headers: { 'retry-after': '1' },
    })
    await pass(40)
    await Promise.all(answers)
    expect(executor.runs).toEqual(['a', 'b', 'c'])
  })

  it('that can be met is met', async () => {
    const { batcher, pass, in: due } = await setUp()
    const answers = [batcher.submit('a'), batcher.submit('b', due(35))]
    await pass(30)
    expect((await Promise.all(answers)).map(({ result }) => result)).toEqual(['a', 'b'])
  })

  it('is promised again after a slow time, though every request has one', async () => {
    let slowMs = 0
    const clock = new ManualClock()
    const executor: Executor<string, string> = {
      slots: 2,
      width: 1,
      run: (input) =>
        new Promise((resolve) => {
          const ms = runMs + slowMs
          clock.setTimer(() => resolve({ result: input, computeMs: ms }), ms)
        }),
    }
    const batcher = new Batcher(executor, texts, { plan: new BatchPlan(), clock })
    const refusedOf = async (rounds: number) => {
      let refused = 0
      for (let round = 0; round < rounds; round++) {
        const deadlineMs = clock.now() + 40
        for (let i = 0; i < 2; i++) {
          batcher.submit('a', { deadlineMs }).catch((error: unknown) => {
            if (ServingError.is(error, 'OVERLOADED')) refused++
          })
        }
        for (let ms = 0; ms < 50 + slowMs; ms += 5) {
          await turn()
          clock.advance(5)
        }
        await turn()
      }
      return refused
    }
    expect(await refusedOf(20)).toBe(0)
    slowMs = 1000
    const queued = Array.from({ length: 40 }, () => batcher.submit('a'))
    for (let ms = 0; ms < 25_000; ms += 100) {
      await turn()
      clock.advance(100)
    }
    await Promise.all(queued)
    slowMs = 0
    expect(await refusedOf(5)).toBe(5)
    await refusedOf(200)
    expect(await refusedOf(20)).toBe(0)
  })

  it('that is short is tried by an idle model, whatever a run took before', async () => {
    const { batcher, pass, in: due } = await setUp()
    const answer = expect(batcher.submit('a', due(5))).rejects.toMatchObject({ code: 'TIMEOUT' })
    await pass(20)
    await answer
  })

  it('of a high priority is not refused for what waits behind it', async () => {
    const { batcher, executor, pass, in: due } = await setUp()
    const answers = ['a', 'b', 'c', 'd'].map((input) => batcher.submit(input))
    await turn()
    answers.push(batcher.submit('e', { ...due(25), priority: 0 }))
    await pass(60)
    await Promise.all(answers)
    expect(executor.runs).toEqual(['a', 'e', 'b', 'c', 'd'])
  })

  it('that can be met no more is given up before its run, where another can use it', async () => {
    const { batcher, executor, pass, in: due } = await setUp()
    const first = batcher.submit('a')
    await turn()
    const late = expect(batcher.submit('b', due(24))).rejects.toMatchObject({ code: 'TIMEOUT' })
    // Two that go before it come later.
    const others = ['c', 'd'].map((input) => batcher.submit(input, { priority: 0 }))
    await pass(50)
    await Promise.all([first, late, ...others])
    expect(executor.runs).toEqual(['a', 'c', 'd'])
  })

  it('counts what a run has taken already', async () => {
    const { batcher, pass, in: due } = await setUp()
    const first = batcher.submit('a')
    await pass(9)
    const second = batcher.submit('b', due(13))
    await pass(20)
    await Promise.all([first, second])
  })

  it('is no reason to refuse while nothing is known', async () => {
    const clock = new ManualClock()
    const batcher = new Batcher(new TimedExecutor(clock), texts, { clock })
    const answers = Promise.allSettled([batcher.submit('a'), batcher.submit('b', { deadlineMs: 1 })])
    await turn()
    expect(batcher.waitingRows).toBe(1)
    for (let i = 0; i < 5; i++) {
      clock.advance(10)
      await turn()
    }
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })
})

it('a full queue says how long it takes to drain', async () => {
  const { batcher, pass } = await setUp({ maxQueueRows: 250 })
  const busy = Array.from({ length: 20 }, (_, i) => batcher.submit(`${i}`))
  await pass(200)
  await Promise.all(busy)
  const running = batcher.submit('running')
  await turn()
  const waiting = Promise.allSettled(Array.from({ length: 250 }, (_, i) => batcher.submit(`${i}`)))
  await expect(batcher.submit('more')).rejects.toMatchObject({
    code: 'QUEUE_FULL',
    headers: { 'retry-after': '3' },
  })
  batcher.close(new ServingError('CLOSED', 'the test is over'))
  await pass(10)
  await Promise.all([running, waiting])
})
