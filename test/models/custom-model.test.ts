import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createServing, custom, scored, ServingError, type CustomOptions } from '../../src/index.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

type Options<P> = Partial<CustomOptions<number, P, unknown, P>> &
  Required<Pick<CustomOptions<number, P, unknown, P>, 'run'>>

/** A serving of one custom model `m`, whose resource is the number 10. */
function servingOf<P>(options: Options<P>) {
  const serving = createServing({
    models: { m: custom({ load: () => 10, ...options }) },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  return serving
}

const turn = () => new Promise(setImmediate)

describe('a custom model', () => {
  it('answers rows with what its run gives, without any artifact', async () => {
    const serving = servingOf<{ age: number }>({ run: (base, rows) => rows.map((row) => base + row.age) })
    const { prediction, meta } = await serving.predict('m', { age: 3 })
    expect(prediction).toBe(13)
    expect(meta).toMatchObject({ model: 'm', version: '1', cache: 'off', batchRows: 1 })
    expect(serving.models.get('m')).toMatchObject({
      current: '1',
      versions: [{ version: '1', state: 'ready' }],
    })
    expect(serving.models.get('m').inputs).toBeUndefined()
  })

  it('gives a confidence where its answer has one', async () => {
    const serving = servingOf<number>({ run: (_, rows) => rows.map(() => scored('yes', 0.75)) })
    expect(await serving.predict('m', 1)).toMatchObject({ prediction: 'yes', confidence: 0.75 })
  })

  it.each([{ maxBatchElements: 8 }, { ragged: { inputs: { x: {} } } }])(
    'refuses %j, which rows of any values have no use for',
    (batching) => {
      const options = { load: () => 1, run: () => [1], batching }
      expect(() => custom(options as never)).toThrow('batching: unknown option')
    },
  )

  it('takes several rows in one call where batching is declared', async () => {
    const calls: number[][] = []
    const serving = servingOf<number>({
      batching: { maxBatchSize: 4 },
      concurrency: 1,
      run: async (base, rows) => {
        calls.push(rows)
        await turn()
        return rows.map((row) => base + row)
      },
    })
    await serving.ready()
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((row) => serving.predict('m', row)))
    expect(answers.map(({ prediction }) => prediction)).toEqual([11, 12, 13, 14, 15, 16])
    expect(calls).toEqual([
      [1, 2, 3, 4],
      [5, 6],
    ])
  })

  it('of which one row fails its batch, fails that row alone', async () => {
    const serving = servingOf<number>({
      batching: true,
      run: (_, rows) => {
        if (rows.includes(3)) throw new ServingError('INVALID_INPUT', 'three is no row')
        return rows
      },
    })
    await serving.ready()
    const answers = await Promise.allSettled([1, 2, 3, 4].map((row) => serving.predict('m', row)))
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
    expect((answers[2] as PromiseRejectedResult).reason).toMatchObject({ code: 'INVALID_INPUT' })
  })

  it('that fails, or gives not one answer a row, is told as such', async () => {
    const failing = servingOf<number>({
      run: () => {
        throw new Error('no connection')
      },
    })
    await expect(failing.predict('m', 1)).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'm@1: run failed: no connection',
    })
    const short = servingOf<number>({ run: () => [] })
    await expect(short.predict('m', 1)).rejects.toMatchObject({
      code: 'INVALID_CODEC',
      message: 'm@1: run must give an array of 1 answers; got 0.',
    })
    const none = servingOf<number>({ run: () => 'text' as unknown as unknown[] })
    await expect(none.predict('m', 1)).rejects.toMatchObject({ code: 'INVALID_CODEC' })
  })

  it('is held to its schema, and given what that made of the input', async () => {
    const serving = createServing({
      models: {
        m: custom({
          input: z.object({ age: z.coerce.number().max(150) }),
          load: () => 0,
          run: (_, rows) => rows.map(({ age }) => age * 2),
        }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    expect((await serving.predict('m', { age: '21' })).prediction).toBe(42)
    await expect(serving.predict('m', { age: 200 })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/^m@1: age: /) as string,
    })
  })

  it('runs no more calls at once than its concurrency', async () => {
    let running = 0
    let most = 0
    const serving = servingOf<number>({
      concurrency: 3,
      run: async (_, rows) => {
        most = Math.max(most, ++running)
        await turn()
        running--
        return rows
      },
    })
    await Promise.all(Array.from({ length: 20 }, (_, row) => serving.predict('m', row)))
    expect(most).toBe(3)
  })

  it('is told when nobody waits for it any more', async () => {
    let seen: AbortSignal | undefined
    const serving = servingOf<number>({
      run: async (_, rows, { signal }) => {
        seen = signal
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        return rows
      },
    })
    const caller = new AbortController()
    await serving.ready()
    const answer = serving.predict('m', 1, { signal: caller.signal })
    await turn()
    expect(seen?.aborted).toBe(false)
    caller.abort()
    await expect(answer).rejects.toMatchObject({ code: 'ABORTED' })
    expect(seen?.aborted).toBe(true)
  })

  it('may ask for predictions itself, however many of its own calls wait for them', async () => {
    const serving = createServing({
      models: {
        inner: custom({
          concurrency: 1,
          load: () => 1,
          run: (one, rows: number[]) => rows.map((row) => row + one),
        }),
        outer: custom({
          concurrency: 2,
          load: () => 0,
          run: async (_, rows: number[]): Promise<number[]> => {
            const answers = await Promise.all(rows.map((row) => inner.predict(row)))
            return answers.map(({ prediction }) => prediction * 2)
          },
        }),
      },
      logger: quietLogger(),
    })
    const inner = serving.model('inner')
    onTestFinished(() => serving.close())
    const answers = await Promise.all([1, 2, 3, 4, 5].map((row) => serving.predict('outer', row)))
    expect(answers.map(({ prediction }) => prediction)).toEqual([4, 6, 8, 10, 12])
  })

  it('is loaded for each version from its folder, and disposed of once its runs have ended', async () => {
    const root = temporaryRepository({ 'm/1/rules.json': '{}', 'm/2/rules.json': '{}' })
    const disposed: string[] = []
    let finish = () => {}
    const serving = createServing({
      models: {
        m: custom({
          source: `${root}/m`,
          keepPrevious: 0,
          load: ({ version, dir }) => `${version} of ${dir.slice(root.length + 1).replaceAll('\\', '/')}`,
          run: async (resource, rows: string[]) => {
            if (rows.includes('wait')) await new Promise<void>((resolve) => (finish = resolve))
            return rows.map(() => resource)
          },
          dispose: (resource) => void disposed.push(resource),
        }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    const waiting = serving.predict('m', 'wait', { version: '2' })
    await turn()
    await serving.models.switchVersion('m', '1')
    expect((await serving.predict('m', 'x')).prediction).toBe('1 of m/1')
    expect(disposed).toEqual([])
    finish()
    expect((await waiting).prediction).toBe('2 of m/2')
    await turn()
    expect(disposed).toEqual(['2 of m/2'])
    await serving.close()
    expect(disposed).toEqual(['2 of m/2', '1 of m/1'])
  })

  it('that can not be loaded says why, and is tried again', async () => {
    let attempts = 0
    const serving = servingOf<number>({
      load: () => {
        if (attempts++ === 0) throw new Error('no such table')
        return 1
      },
      run: (one, rows) => rows.map(() => one),
    })
    await expect(serving.ready()).rejects.toMatchObject({
      code: 'MODEL_NOT_READY',
      message: 'model "m" can\'t serve: m@1: load failed: no such table',
    })
    await serving.models.load('m', '1')
    expect((await serving.predict('m', 1)).prediction).toBe(1)
  })
})

describe('the rows of a custom model', () => {
  it('are what they were when they were asked about, whatever the caller changes later', async () => {
    const serving = servingOf<{ list: number[] }>({
      run: async (_, rows) => {
        await turn()
        return rows.map(({ list }) => list.length)
      },
    })
    await serving.ready()
    const row = { list: [1, 2] }
    const answer = serving.predict('m', row)
    row.list.push(3)
    expect((await answer).prediction).toBe(2)
    expect(row.list).toEqual([1, 2, 3])
  })

  it('keep their class', async () => {
    class Customer {
      constructor(private readonly age: number) {}
      isOld(): boolean {
        return this.age > 99
      }
    }
    const serving = servingOf<Customer>({ run: (_, rows) => rows.map((row) => row.isOld()) })
    expect((await serving.predict('m', new Customer(100))).prediction).toBe(true)
  })
})

describe('the cache of a custom model', () => {
  it('knows equal plain data, and what it gives is each caller’s own', async () => {
    let runs = 0
    const serving = servingOf<{ a: number; b: number[] }>({
      cache: true,
      run: (_, rows) => rows.map(() => ({ run: ++runs })),
    })
    const first = (await serving.predict('m', { a: 1, b: [2] })).prediction as { run: number }
    first.run = 99
    const second = await serving.predict('m', { b: [2], a: 1 })
    expect(second.prediction).toEqual({ run: 1 })
    expect(second.meta.cache).toBe('hit')
    expect((await serving.predict('m', { a: 1, b: [3] })).prediction).toEqual({ run: 2 })
  })

  it('takes the key that cacheKey gives, and refuses a row that has none', async () => {
    class Row {
      constructor(readonly id: string) {}
    }
    const byId = servingOf<Row>({
      cache: true,
      cacheKey: ({ id }) => id,
      run: (_, rows) => rows.map(() => 1),
    })
    await byId.predict('m', new Row('a'))
    expect((await byId.predict('m', new Row('a'))).meta.cache).toBe('hit')
    expect((await byId.predict('m', new Row('b'))).meta.cache).toBe('miss')
    const plain = servingOf<Row>({ cache: true, run: (_, rows) => rows.map(() => 1) })
    await expect(plain.predict('m', new Row('a'))).rejects.toMatchObject({
      code: 'INVALID_CODEC',
      message: 'm@1: the input has no cache key: an object of the class Row is no plain data',
    })
  })
})

it.each<[object, string]>([
  [{ load: () => 1 }, 'custom(): run is missing; it must be a function.'],
  [{ run: () => [] }, 'custom(): load is missing; it must be a function.'],
  [{ load: () => 1, run: () => [], placement: 'inline' }, 'custom(): unknown option "placement".'],
  [
    { load: () => 1, run: () => [], concurency: 1 },
    'custom(): unknown option "concurency". Did you mean "concurrency"?',
  ],
  [{ load: () => 1, run: 3 }, 'custom(): run must be a function; got 3.'],
])('custom(%o) is refused at once', (options, message) => {
  expect(() => custom(options as never)).toThrow(message)
})
