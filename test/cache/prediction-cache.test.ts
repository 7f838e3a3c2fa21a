import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PredictionCache, type CacheLimits, type CacheOptions } from '../../src/cache/prediction-cache.js'
import { ServingError } from '../../src/errors.js'
import { ManualClock } from '../manual-clock.js'

interface Answer {
  readonly text: string
}

function setUp(options: CacheOptions = {}) {
  const clock = new ManualClock()
  clock.advance(1) // an entry made at time 0 has no age for lru-cache
  const cache = new PredictionCache<Answer>({ ...options, clock, sizeOf: ({ text }) => text.length })
  let computed = 0
  const compute = (text: string) => () => {
    computed++
    return Promise.resolve({ text })
  }
  return { clock, cache, compute, computed: () => computed }
}

/** A computation that ends when the test says so. */
function pending() {
  let settle: (answer: Answer | Error) => void = () => {}
  let signal: AbortSignal | undefined
  const compute = ({ signal: given }: { signal: AbortSignal }) => {
    signal = given
    return new Promise<Answer>((resolve, reject) => {
      settle = (answer) => (answer instanceof Error ? reject(answer) : resolve(answer))
      given.addEventListener('abort', () => reject(new ServingError('ABORTED', 'nobody waits')))
    })
  }
  return { compute, settle: (answer: Answer | Error) => settle(answer), isAborted: () => signal?.aborted }
}

describe('a kept answer', () => {
  it('is given again for its time, and computed anew after', async () => {
    const { clock, cache, compute, computed } = setUp({ ttlMs: 100 })
    expect(await cache.get('k', {}, compute('a'))).toEqual({ value: { text: 'a' }, status: 'miss' })
    clock.advance(99)
    expect(await cache.get('k', {}, compute('b'))).toEqual({ value: { text: 'a' }, status: 'hit' })
    clock.advance(1)
    expect(await cache.get('k', {}, compute('c'))).toEqual({ value: { text: 'c' }, status: 'miss' })
    expect(computed()).toBe(2)
  })

  it('leaves when others were used more lately, by entries and by bytes', async () => {
    const byEntries = setUp({ maxEntries: 2 })
    for (const key of ['a', 'b', 'a', 'c']) await byEntries.cache.get(key, {}, byEntries.compute(key))
    expect((await byEntries.cache.get('a', {}, byEntries.compute('a'))).status).toBe('hit')
    expect((await byEntries.cache.get('b', {}, byEntries.compute('b'))).status).toBe('miss')
    const byBytes = setUp({ maxBytes: 10 })
    await byBytes.cache.get('six', {}, byBytes.compute('123456'))
    await byBytes.cache.get('five', {}, byBytes.compute('12345'))
    expect(byBytes.cache.counts).toMatchObject({ entries: 1, bytes: 5 })
    await byBytes.cache.get('huge', {}, byBytes.compute('x'.repeat(11)))
    expect((await byBytes.cache.get('huge', {}, byBytes.compute('x'))).status).toBe('miss')
  })

  it('is never an error', async () => {
    const { cache, compute } = setUp()
    await expect(cache.get('k', {}, () => Promise.reject(new Error('boom')))).rejects.toThrow('boom')
    expect((await cache.get('k', {}, compute('a'))).status).toBe('miss')
  })

  it('stands in for one that failed, as long as that is allowed', async () => {
    const { clock, cache, compute } = setUp({ ttlMs: 100, staleOnErrorMs: 50 })
    const fails = () => Promise.reject(new ServingError('INFERENCE_FAILED', 'boom'))
    await cache.get('k', {}, compute('a'))
    clock.advance(149)
    expect(await cache.get('k', {}, fails)).toEqual({ value: { text: 'a' }, status: 'stale' })
    clock.advance(2)
    await expect(cache.get('k', {}, fails)).rejects.toThrow('boom')
  })

  it('does not stand in for the answer to a wrong input', async () => {
    const { cache, clock, compute } = setUp({ ttlMs: 10, staleOnErrorMs: 100 })
    await cache.get('k', {}, compute('a'))
    clock.advance(11)
    const wrong = () => Promise.reject(new ServingError('INVALID_INPUT', 'wrong'))
    await expect(cache.get('k', {}, wrong)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  })

  it('is gone once the cache is closed, also one that was under way', async () => {
    const { cache, compute } = setUp()
    const flight = pending()
    const answer = cache.get('k', {}, flight.compute)
    cache.close()
    flight.settle({ text: 'late' })
    expect((await answer).value.text).toBe('late')
    expect((await cache.get('k', {}, compute('b'))).status).toBe('miss')
  })
})

describe('equal requests under way together', () => {
  it('share one computation', async () => {
    const { cache } = setUp()
    const flight = pending()
    const answers = [1, 2, 3].map(() => cache.get('k', {}, flight.compute))
    flight.settle({ text: 'a' })
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([
      'miss',
      'coalesced',
      'coalesced',
    ])
    expect(cache.counts).toMatchObject({ hits: 0, misses: 1, coalesced: 2 })
  })

  it('share its failure', async () => {
    const { cache } = setUp()
    const flight = pending()
    const answers = Promise.allSettled([1, 2].map(() => cache.get('k', {}, flight.compute)))
    flight.settle(new ServingError('INFERENCE_FAILED', 'boom'))
    expect((await answers).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })

  it('do not share a refusal', async () => {
    const { cache, compute } = setUp()
    const flight = pending()
    const first = expect(cache.get('k', {}, flight.compute)).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    const second = cache.get('k', {}, compute('mine'))
    flight.settle(new ServingError('QUEUE_FULL', 'full'))
    await first
    expect((await second).value.text).toBe('mine')
  })

  it('share one after a second refusal, so that many are not refused one after another', async () => {
    const { cache } = setUp()
    let refusals = 0
    const refused = () => {
      refusals++
      return Promise.reject(new ServingError('QUEUE_FULL', 'full'))
    }
    const answers = await Promise.allSettled(Array.from({ length: 100 }, () => cache.get('k', {}, refused)))
    expect(answers.every(({ status }) => status === 'rejected')).toBe(true)
    expect(refusals).toBe(2)
  })

  it.each<[string, CacheLimits]>([
    ['is willing to wait', { whenFull: 'wait' }],
    ['is more urgent', { priority: 0 }],
    ['has more time', { deadlineMs: 1000 }],
  ])('do not share a second refusal where one %s', async (_, limits) => {
    const { cache, compute } = setUp()
    const refused = () => Promise.reject(new ServingError('OVERLOADED', 'full'))
    const ordinary = { deadlineMs: 100 }
    const others = Promise.allSettled([1, 2, 3].map(() => cache.get('k', ordinary, refused)))
    const own = cache.get('k', { ...ordinary, ...limits }, compute('mine'))
    expect((await own).value.text).toBe('mine')
    await others
  })

  it('are each bound by their own limits; the last that gives up ends the computation', async () => {
    const { clock, cache, compute } = setUp()
    const flight = pending()
    const caller = new AbortController()
    const first = expect(cache.get('k', { signal: caller.signal }, flight.compute)).rejects.toMatchObject({
      code: 'ABORTED',
    })
    const second = expect(cache.get('k', { deadlineMs: 11 }, flight.compute)).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    caller.abort()
    await first
    expect(flight.isAborted()).toBe(false)
    clock.advance(10)
    await second
    expect(flight.isAborted()).toBe(true)
    expect(await cache.get('k', {}, compute('anew'))).toEqual({ value: { text: 'anew' }, status: 'miss' })
    expect(clock.timers).toBe(0)
  })
})

it('whatever happens, an answer is one that was computed for its key, and each caller has one', async () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    action: fc.constantFrom('get', 'settle', 'fail', 'abort', 'advance'),
    deadlineMs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 0, max: 20 }),
      async (steps, staleOnErrorMs) => {
        const { clock, cache } = setUp({ ttlMs: 15, maxEntries: 2, staleOnErrorMs })
        const flights: { key: string; flight: ReturnType<typeof pending> }[] = []
        const callers: { controller: AbortController; answers: number }[] = []
        const open: Promise<void>[] = []
        for (const { key, action, deadlineMs } of steps) {
          if (action === 'advance') clock.advance(4)
          else if (action === 'abort') callers.at(-1)?.controller.abort()
          else if (action === 'settle' || action === 'fail') {
            const found = flights.find((flight) => flight.key === key)
            found?.flight.settle(
              action === 'fail' ? new ServingError('INFERENCE_FAILED', key) : { text: key },
            )
          } else {
            const caller = { controller: new AbortController(), answers: 0 }
            callers.push(caller)
            const limits = {
              signal: caller.controller.signal,
              ...(deadlineMs !== undefined && { deadlineMs: clock.now() + deadlineMs }),
            }
            const compute = (limits: { signal: AbortSignal }) => {
              const flight = pending()
              flights.unshift({ key, flight })
              return flight.compute(limits)
            }
            const answer = cache.get(key, limits, compute).then(
              ({ value }) => expect(value.text).toBe(key),
              (error: unknown) =>
                expect(['ABORTED', 'TIMEOUT', 'INFERENCE_FAILED']).toContain((error as ServingError).code),
            )
            open.push(
              answer.then(() => {
                caller.answers++
              }),
            )
          }
          await Promise.resolve()
        }
        for (const { key, flight } of flights) flight.settle({ text: key })
        await Promise.all(open)
        expect(callers.every(({ answers }) => answers === 1)).toBe(true)
      },
    ),
    { numRuns: 300 },
  )
})
