import { describe, expect, it } from 'vitest'
import { RequestQueue } from '../../src/batching/queue.js'
import { ServingError } from '../../src/errors.js'
import type { RunResult, Session } from '../../src/execution/session.js'
import { float32, type Feeds } from '../../src/tensor/tensor.js'

/** A session whose runs end when the test says so. */
class ManualSession implements Session {
  readonly signature = { inputs: [], outputs: [], classes: {} }
  readonly died = new Promise<ServingError>(() => {})
  readonly started: { feeds: Feeds; answer: (result: RunResult | ServingError) => void }[] = []

  constructor(readonly slots: number) {}

  run(feeds: Feeds): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      const answer = (result: RunResult | ServingError) =>
        result instanceof ServingError ? reject(result) : resolve(result)
      this.started.push({ feeds, answer })
    })
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async finish(
    index: number,
    result: RunResult | ServingError = { outputs: {}, computeMs: 1 },
  ): Promise<void> {
    this.started[index]?.answer(result)
    await new Promise(setImmediate)
  }
}

const feeds = (value: number): Feeds => ({ x: float32([value]) })
const valuesOf = (session: ManualSession) => session.started.map((run) => run.feeds.x?.data[0])

describe('the queue before a session', () => {
  it('hands over as many as the session has slots, first in first out', async () => {
    const session = new ManualSession(2)
    const queue = new RequestQueue(session, 10)
    const answers = [1, 2, 3, 4].map((value) => queue.submit(feeds(value), 1))
    expect(valuesOf(session)).toEqual([1, 2])
    await session.finish(1)
    expect(valuesOf(session)).toEqual([1, 2, 3])
    await session.finish(0)
    await session.finish(2)
    await session.finish(3)
    expect(valuesOf(session)).toEqual([1, 2, 3, 4])
    expect((await Promise.all(answers)).map((answer) => answer.computeMs)).toEqual([1, 1, 1, 1])
  })

  it('refuses at once what would go beyond its rows, and takes it again when there is room', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 3)
    const running = queue.submit(feeds(0), 1)
    const waiting = queue.submit(feeds(1), 3)
    await expect(queue.submit(feeds(2), 1)).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      message: 'the queue holds 3 of at most 3 rows; 1 more do not fit.',
      headers: { 'retry-after': '1' },
    })
    await session.finish(0)
    const next = queue.submit(feeds(3), 3)
    await session.finish(1)
    await session.finish(2)
    await Promise.all([running, waiting, next])
    expect(queue.waitingRows).toBe(0)
  })

  it('always admits to an idle session, however many rows', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 1)
    const answer = queue.submit(feeds(0), 100)
    await session.finish(0)
    await expect(answer).resolves.toMatchObject({ computeMs: 1 })
  })

  it('lets an aborted request leave without costing a run', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 10)
    const caller = new AbortController()
    const first = queue.submit(feeds(1), 1)
    const aborted = queue.submit(feeds(2), 1, { signal: caller.signal })
    const last = queue.submit(feeds(3), 1)
    caller.abort(new Error('gone'))
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED', cause: new Error('gone') })
    await session.finish(0)
    await session.finish(1)
    await Promise.all([first, last])
    expect(valuesOf(session)).toEqual([1, 3])
  })

  it('answers an aborted request at once even when its run has begun, and drops the late result', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 10)
    const caller = new AbortController()
    const aborted = queue.submit(feeds(1), 1, { signal: caller.signal })
    caller.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    await session.finish(0)
    const next = queue.submit(feeds(2), 1)
    await session.finish(1)
    await expect(next).resolves.toBeDefined()
  })

  it('refuses what is aborted or too late already', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 10)
    await expect(queue.submit(feeds(1), 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    await expect(queue.submit(feeds(1), 1, { deadlineMs: performance.now() - 1 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    expect(session.started).toEqual([])
  })

  it('lets a request whose deadline passes leave without costing a run', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 10)
    const first = queue.submit(feeds(1), 1)
    await expect(queue.submit(feeds(2), 1, { deadlineMs: performance.now() + 5 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    await session.finish(0)
    await first
    expect(valuesOf(session)).toEqual([1])
    expect(queue.waitingRows).toBe(0)
  })

  it('goes on after a run that failed', async () => {
    const session = new ManualSession(1)
    const queue = new RequestQueue(session, 10)
    const failing = queue.submit(feeds(1), 1)
    const next = queue.submit(feeds(2), 1)
    const seen = expect(failing).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    await session.finish(0, new ServingError('INFERENCE_FAILED', 'bad'))
    await seen
    await session.finish(1)
    await expect(next).resolves.toBeDefined()
  })
})
