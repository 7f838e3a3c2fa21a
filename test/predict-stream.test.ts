import fc from 'fast-check'
import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import {
  createServing,
  custom,
  onnx,
  pipeline,
  scored,
  type Metrics,
  type PredictionStream,
} from '../src/index.js'
import { stubServing } from '../src/testing/index.js'
import { asAny } from './contract/serving.js'
import { HandStream } from './hand-stream.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository } from './models/temporary-repository.js'
import { identityModel } from './onnx/models.js'

interface Given {
  readonly concurrency?: number
  readonly maxQueueRows?: number
  readonly timeoutMs?: number
  readonly drainTimeoutMs?: number
  readonly batching?: boolean
}

/** A serving of `m`, whose streams are made by hand. */
function servingOf({ drainTimeoutMs = 10, ...options }: Given = {}) {
  const hand = new HandStream()
  const serving = createServing({
    models: { m: custom({ load: () => null, stream: hand.stream, ...options }) },
    logger: quietLogger(),
    drainTimeoutMs,
  })
  onTestFinished(() => serving.close())
  return { serving, hand }
}

async function all<T>(stream: PredictionStream<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

const turn = () => new Promise(setImmediate)
const done = { value: undefined, done: true }

async function requestsByStatus({ metrics }: { metrics: Metrics }): Promise<Record<string, number>> {
  const metric = await metrics.registry.getSingleMetric('model_requests_total')?.get()
  return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [String(labels.status), value]))
}

describe('predictStream', () => {
  it('gives the items that the model yields, typed, and says how they came about', async () => {
    const serving = createServing({
      models: {
        words: custom({
          input: z.object({ text: z.string() }),
          load: () => ' ',
          async *stream(separator, { text }) {
            for (const word of text.split(separator)) yield await Promise.resolve({ word })
          },
        }),
      },
    })
    onTestFinished(() => serving.close())
    const stream = serving.predictStream('words', { text: 'a b c' }, { requestId: 'r-1' })
    expect(stream.meta).toBeUndefined()
    const words: string[] = []
    for await (const item of stream) {
      expectTypeOf(item).toEqualTypeOf<{ word: string }>()
      words.push(item.word)
    }
    expect(words).toEqual(['a', 'b', 'c'])
    expect(stream.meta).toEqual({
      requestId: 'r-1',
      model: 'words',
      version: '1',
      queueMs: expect.any(Number),
    })
  })

  it('costs nothing until it is read, and makes an item only when one is asked for', async () => {
    const { serving, hand } = servingOf()
    await serving.ready()
    const stream = serving.predictStream('m', 'x')
    await turn()
    expect(hand.runs).toEqual([])
    const first = stream.next()
    await hand.give(1)
    expect(await first).toEqual({ value: 1 })
    await turn()
    expect(hand.runs).toMatchObject([{ isAsked: false }])
    const second = stream.next()
    await vi.waitFor(() => expect(hand.runs).toMatchObject([{ isAsked: true }]))
    await hand.end()
    expect(await second).toEqual(done)
    expect(await stream.next()).toEqual(done)
  })

  it('gives items to several who ask at once, in their order', async () => {
    const { serving, hand } = servingOf()
    const stream = serving.predictStream('m', 'x')
    const asked = [stream.next(), stream.next(), stream.next()]
    for (const item of [1, 2]) await hand.give(item)
    await hand.end()
    expect(await Promise.all(asked)).toEqual([{ value: 1 }, { value: 2 }, done])
  })

  it('gives any items in order, each once, whoever reads how', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.anything(), { maxLength: 20 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 5 }),
        async (items, isSync, atOnce) => {
          const serving = createServing({
            models: {
              m: custom({
                load: () => null,
                stream: () => {
                  async function* generate() {
                    for (const item of items) yield await Promise.resolve(item)
                  }
                  return isSync ? items : generate()
                },
              }),
            },
          })
          const stream = serving.predictStream('m', 0)
          const given: unknown[] = []
          let isOver = false
          while (!isOver) {
            const results = await Promise.all(Array.from({ length: atOnce }, () => stream.next()))
            for (const result of results) {
              if (result.done === true) isOver = true
              else given.push(result.value)
            }
          }
          await serving.close()
          expect(given).toEqual(items)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is given its input as it was when it was called, as the schema gave it back', async () => {
    const rows: unknown[] = []
    const serving = createServing({
      models: {
        m: custom({
          input: z.object({ n: z.coerce.number() }),
          load: () => null,
          stream: (_, row) => (rows.push(row), [row.n]),
        }),
      },
    })
    onTestFinished(() => serving.close())
    const input = { n: '3' }
    const stream = serving.predictStream('m', input)
    input.n = '4'
    expect(await all(stream)).toEqual([3])
    expect(rows).toEqual([{ n: 3 }])
    await expect(serving.predictStream('m', { n: 'x' }).next()).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('m@1: n:'),
    })
  })

  it('loads a lazy model', async () => {
    const serving = createServing({
      models: { m: custom({ lazy: true, load: () => 7, stream: (resource) => [resource] }) },
    })
    onTestFinished(() => serving.close())
    expect(await all(serving.predictStream('m', 0))).toEqual([7])
  })

  it('of a handle is that of its model', async () => {
    const { serving, hand } = servingOf()
    const next = serving.model('m').predictStream('x').next()
    await hand.give(5)
    expect(await next).toEqual({ value: 5 })
  })
})

describe('a stream that is not read to its end', () => {
  it('ends where its reader breaks, and gives its run back', async () => {
    const { serving, hand } = servingOf({ concurrency: 1 })
    const read = (async () => {
      for await (const item of serving.predictStream('m', 'x')) return item
      return undefined
    })()
    await hand.give('a')
    expect(await read).toBe('a')
    expect(hand.runs).toMatchObject([{ hasEnded: true }])
    const next = serving.predictStream('m', 'y').next()
    await hand.give('b', 1)
    expect(await next).toEqual({ value: 'b' })
    expect(await requestsByStatus(serving)).toEqual({ aborted: 1 })
  })

  it('ends where its reader leaves while an item is made', async () => {
    const { serving, hand } = servingOf()
    const stream = serving.predictStream('m', 'x')
    const next = stream.next()
    await hand.began()
    await stream.return()
    expect(await next).toEqual(done)
    expect(hand.runs).toMatchObject([{ hasEnded: true, signal: { aborted: true } }])
    await vi.waitFor(async () => expect(await requestsByStatus(serving)).toEqual({ aborted: 1 }))
  })

  it('begins nothing where it is left before', async () => {
    const { serving, hand } = servingOf()
    await serving.ready()
    const stream = serving.predictStream('m', 'x')
    await stream.return()
    expect(await stream.next()).toEqual(done)
    expect(hand.runs).toEqual([])
    expect(await requestsByStatus(serving)).toEqual({})
  })

  it('that waits for its turn leaves the queue', async () => {
    const { serving, hand } = servingOf({ concurrency: 1 })
    const first = serving.predictStream('m', 'first')
    const begun = first.next()
    await hand.began()
    const second = serving.predictStream('m', 'second')
    const waiting = second.next()
    await turn()
    await second.return()
    expect(await waiting).toEqual(done)
    await hand.end()
    await begun
    await turn()
    expect(hand.runs).toHaveLength(1)
  })

  it.each([
    ['is aborted', 'ABORTED'],
    ['is too late', 'TIMEOUT'],
  ])('ends where it %s while an item is made', async (_, code) => {
    const { serving, hand } = servingOf()
    const hangUp = new AbortController()
    const isAbort = code === 'ABORTED'
    const stream = serving.predictStream('m', 'x', isAbort ? { signal: hangUp.signal } : { timeoutMs: 30 })
    const first = stream.next()
    await hand.give(1)
    expect(await first).toEqual({ value: 1 })
    const second = stream.next()
    if (isAbort) hangUp.abort()
    await expect(second).rejects.toMatchObject({ code })
    expect(await stream.next()).toEqual(done)
    await hand.ended()
    expect(hand.runs[0]?.signal.aborted).toBe(true)
    expect(await requestsByStatus(serving)).toEqual({ [code.toLowerCase()]: 1 })
  })

  it.each([
    ['is aborted', 'ABORTED'],
    ['is too late', 'TIMEOUT'],
  ])('ends where it %s while nobody reads, and the reader is told', async (_, code) => {
    const { serving, hand } = servingOf({ concurrency: 1, ...(code === 'TIMEOUT' && { timeoutMs: 30 }) })
    const hangUp = new AbortController()
    const stream = serving.predictStream('m', 'x', { signal: hangUp.signal })
    const first = stream.next()
    await hand.give(1)
    await first
    if (code === 'ABORTED') hangUp.abort()
    await hand.ended()
    const other = serving.predictStream('m', 'y').next()
    await hand.give(2, 1)
    expect(await other).toEqual({ value: 2 })
    await expect(stream.next()).rejects.toMatchObject({ code })
    expect(await stream.next()).toEqual(done)
  })
})

describe('a stream that fails', () => {
  it('gives what came before, and then the error, once', async () => {
    const { serving, hand } = servingOf()
    const stream = serving.predictStream('m', 'x')
    const first = stream.next()
    await hand.give(1)
    expect(await first).toEqual({ value: 1 })
    const second = stream.next()
    await hand.fail(new TypeError('no more ink'))
    await expect(second).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'm@1: stream failed: no more ink',
    })
    expect(await stream.next()).toEqual(done)
    expect(await requestsByStatus(serving)).toEqual({ inference_failed: 1 })
  })

  it.each([
    ['gives no iterable', () => 7 as unknown as number[], 'INVALID_CODEC'],
    [
      'throws at once',
      (): number[] => {
        throw new Error('no')
      },
      'INFERENCE_FAILED',
    ],
  ])('because it %s is an error of the first item', async (_, stream, code) => {
    const serving = createServing({
      models: { m: custom({ load: () => null, stream }) },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await expect(serving.predictStream('m', 0).next()).rejects.toMatchObject({ code })
  })

  it('since its model has none', async () => {
    const root = temporaryRepository({ '1/model.onnx': identityModel() })
    const serving = asAny(
      createServing({
        models: {
          rows: custom({ load: () => null, run: (_, rows: number[]) => rows }),
          graph: onnx({ source: root, placement: 'inline' }),
          row: pipeline(['rows', 'graph']),
        },
      }),
    )
    onTestFinished(() => serving.close())
    await serving.ready()
    for (const model of ['rows', 'graph', 'row']) {
      await expect(serving.predictStream(model, {}).next()).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        message: expect.stringContaining(`${model}@1 has no answers item by item`),
      })
    }
    await expect(serving.predictStream('none', {}).next()).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
    })
    expect(() => serving.predictStream('rows', 1, { cache: false } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    )
  })

  it('needs a run or a stream of its model', () => {
    expect(() => custom({ load: () => null } as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        message: 'custom(): run is missing; it must be a function.',
      }),
    )
  })
})

describe('the queue of streams', () => {
  it('has as many under way as the model runs at once, and refuses what is too much', async () => {
    const { serving, hand } = servingOf({ concurrency: 2, maxQueueRows: 1 })
    const begin = (n: number) => serving.predictStream('m', n).next()
    const firsts = [begin(1)]
    await hand.began(1)
    firsts.push(begin(2))
    await hand.began(2)
    firsts.push(begin(3))
    await turn()
    expect(hand.runs.map(({ row }) => row)).toEqual([1, 2])
    await expect(begin(4)).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await hand.end(0)
    await hand.began(3)
    expect(hand.runs[2]?.row).toBe(3)
    for (const index of [1, 2]) await hand.end(index)
    expect(await Promise.all(firsts)).toEqual([done, done, done])
  })

  it('joins no two to a batch', async () => {
    const { serving, hand } = servingOf({ batching: true })
    const items = [1, 2, 3].map((n) => serving.predictStream('m', n).next())
    for (const index of [0, 1, 2]) await hand.give(`item ${index}`, index)
    expect(await Promise.all(items)).toEqual([0, 1, 2].map((index) => ({ value: `item ${index}` })))
  })

  it('is that of predictions as well', async () => {
    const hand = new HandStream()
    const serving = createServing({
      models: {
        m: custom({
          load: () => null,
          concurrency: 1,
          run: (_, rows: number[]) => rows,
          stream: hand.stream,
        }),
      },
    })
    onTestFinished(() => serving.close())
    const stream = serving.predictStream('m', 1)
    const next = stream.next()
    await hand.began()
    const prediction = serving.predict('m', 2)
    const answered = vi.fn()
    void prediction.then(answered)
    await turn()
    expect(answered).not.toHaveBeenCalled()
    await hand.end()
    await next
    expect((await prediction).prediction).toBe(2)
  })
})

describe('predict of a model with a stream', () => {
  it('answers the list of all items, where it has no run', async () => {
    const serving = createServing({
      models: {
        m: custom({
          load: () => 2,
          batching: true,
          cache: true,
          async *stream(factor, n: number) {
            for (let i = 0; i < n; i++) yield await Promise.resolve(i * factor)
          },
        }),
      },
    })
    onTestFinished(() => serving.close())
    const [three, none] = await Promise.all([serving.predict('m', 3), serving.predict('m', 0)])
    expectTypeOf(three.prediction).toEqualTypeOf<number[]>()
    expect(three.prediction).toEqual([0, 2, 4])
    expect(none.prediction).toEqual([])
    expect((await serving.predict('m', 3)).meta.cache).toBe('hit')
  })

  it('answers what its run does, where it has one', async () => {
    const serving = createServing({
      models: {
        m: custom({
          load: () => null,
          run: (_, rows: string[]) => rows.map((row) => scored(row.toUpperCase(), 1)),
          stream: (_, row) => row.split(''),
        }),
      },
    })
    onTestFinished(() => serving.close())
    const { prediction, confidence } = await serving.predict('m', 'ab')
    expectTypeOf(prediction).toEqualTypeOf<string>()
    expect([prediction, confidence]).toEqual(['AB', 1])
    expect(await all(serving.predictStream('m', 'ab'))).toEqual(['a', 'b'])
  })

  it('tells its stream that nobody waits any more', async () => {
    const { serving, hand } = servingOf()
    const hangUp = new AbortController()
    const answer = serving.predict('m', 1, { signal: hangUp.signal })
    await hand.give(1)
    hangUp.abort()
    await expect(answer).rejects.toMatchObject({ code: 'ABORTED' })
    await hand.ended()
  })
})

describe('the end', () => {
  it('of a drain comes after that of the streams', async () => {
    const { serving, hand } = servingOf()
    const stream = serving.predictStream('m', 'x')
    const first = stream.next()
    await hand.give(1)
    await first
    const drained = vi.fn()
    const draining = serving.drain().then(drained)
    await turn()
    expect(drained).not.toHaveBeenCalled()
    const second = stream.next()
    await hand.end()
    expect(await second).toEqual(done)
    await draining
  })

  it('of a serving waits for its streams', async () => {
    const { serving, hand } = servingOf({ drainTimeoutMs: 30_000 })
    const stream = serving.predictStream('m', 'x')
    const first = stream.next()
    await hand.give(1)
    await first
    const closing = serving.close()
    await expect(serving.predictStream('m', 'y').next()).rejects.toMatchObject({ code: 'CLOSED' })
    const second = stream.next()
    await hand.give(2)
    expect(await second).toEqual({ value: 2 })
    const last = stream.next()
    await hand.end()
    expect(await last).toEqual(done)
    await closing
  })

  it('of a serving cuts off what takes longer than drainTimeoutMs, read or not', async () => {
    const { serving, hand } = servingOf({ drainTimeoutMs: 10 })
    const [read, unread] = [serving.predictStream('m', 1), serving.predictStream('m', 2)]
    const firsts = [read.next(), unread.next()]
    await hand.give('a', 0)
    await hand.give('b', 1)
    await Promise.all(firsts)
    const second = expect(read.next()).rejects.toMatchObject({ code: 'CLOSED' })
    await serving.close()
    await second
    await expect(unread.next()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(hand.runs).toMatchObject([{ hasEnded: true }, { hasEnded: true }])
  })

  it('of a serving does not wait for a stream that heeds nothing', async () => {
    const serving = createServing({
      models: {
        m: custom({
          load: () => null,
          stream: (): AsyncIterable<number> => ({
            [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
          }),
        }),
      },
      logger: quietLogger(),
      drainTimeoutMs: 10,
    })
    const next = expect(serving.predictStream('m', 1).next()).rejects.toMatchObject({ code: 'CLOSED' })
    await turn()
    await serving.close()
    await next
  })

  it('of a version waits for the streams that it began', async () => {
    const root = temporaryRepository({ '1/of.txt': '', '2/of.txt': '' })
    const hand = new HandStream()
    const disposed: string[] = []
    const serving = createServing({
      models: {
        m: custom({
          source: root,
          current: '1',
          keepPrevious: 0,
          load: ({ version }) => version,
          stream: hand.stream,
          dispose: (version) => void disposed.push(version),
        }),
      },
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    const stream = serving.predictStream('m', 'x')
    const first = stream.next()
    await hand.give(1)
    await first
    await serving.models.switchVersion('m', '2')
    await turn()
    expect(disposed).toEqual([])
    expect(stream.meta?.version).toBe('1')
    const last = stream.next()
    await hand.end()
    await last
    await vi.waitFor(() => expect(disposed).toEqual(['1']))
  })
})

describe('metrics of streams', () => {
  it('count a request once, at its end, and the time to the first item', async () => {
    const { serving, hand } = servingOf()
    const stream = serving.predictStream('m', 'x')
    const first = stream.next()
    await hand.give(1)
    await first
    expect(await requestsByStatus(serving)).toEqual({})
    const { body } = await serving.metrics.exposition()
    expect(body).toContain('model_first_item_seconds_count{model="m",model_version="1"} 1')
    const last = stream.next()
    await hand.end()
    await last
    expect(await requestsByStatus(serving)).toEqual({ success: 1 })
  })
})

describe('a stub serving', () => {
  it('gives the items of a list that stands in for an answer', async () => {
    const stubbed = stubServing<ReturnType<typeof servingOf>['serving']>({ m: ['a', 'b'] })
    onTestFinished(() => stubbed.close())
    expect(await all(stubbed.predictStream('m', 'x'))).toEqual(['a', 'b'])
  })
})
