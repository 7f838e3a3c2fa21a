import { Counter, Registry } from 'prom-client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import {
  classify,
  createServing,
  float32,
  onnx,
  scored,
  type OnnxOptions,
  type PredictOptions,
} from '../src/index.js'
import type { OutputSpec } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository } from './models/temporary-repository.js'
import {
  addInt64,
  fixedBatch,
  identityModel,
  loopModel,
  mlp,
  scalarInput,
  sequenceOutput,
  twoInputs,
  zipMapModel,
} from './onnx/models.js'

type Options = Omit<OnnxOptions<never, unknown, OutputSpec, never>, 'source'>

/** A serving of one model `m`, of the artifact's bytes. */
function servingOf(artifact: Uint8Array, options: Options = {}, more: { registry?: Registry } = {}) {
  const root = temporaryRepository({ 'm/1/model.onnx': artifact })
  const m = onnx<Readonly<Record<string, unknown>>>({ source: `${root}/m`, ...(options as object) })
  const serving = createServing({ models: { m }, logger: quietLogger(), ...more })
  onTestFinished(() => serving.close())
  return {
    serving,
    ask: async (input: Record<string, unknown>, predictOptions?: PredictOptions) =>
      serving.predict('m', input, predictOptions),
  }
}

describe('a model without code', () => {
  it('answers with the value of its only output, one row without the batch axis', async () => {
    const { ask } = servingOf(identityModel())
    expect((await ask({ x: [1, 2, 3] })).prediction).toEqual([1, 2, 3])
    expect(
      (
        await ask({
          x: [
            [1, 2, 3],
            [4, 5, 6],
          ],
        })
      ).prediction,
    ).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
  })

  it('answers a row of one value with the value', async () => {
    const { ask } = servingOf(identityModel({ shape: ['N', 1] }))
    expect((await ask({ x: 5 })).prediction).toBe(5)
    expect((await ask({ x: [5] })).prediction).toBe(5)
  })

  it('carries int64 exactly, as bigints where a number would lose digits', async () => {
    const { ask } = servingOf(addInt64())
    expect((await ask({ x: [1, 2n ** 60n, -5] })).prediction).toEqual([2, 2n ** 60n + 2n, -2])
  })

  it('carries strings of every script', async () => {
    const { ask } = servingOf(identityModel({ dtype: 'string', shape: ['N'] }))
    for (const text of ['', 'naïve', '日本語', '👩‍👩‍👧', 'x'.repeat(100_000)]) {
      expect((await ask({ x: text })).prediction).toBe(text)
    }
  })

  it('answers several outputs by name', async () => {
    const { ask } = servingOf(twoInputs())
    expect((await ask({ a: [1, 2], b: 3 })).prediction).toEqual({ sum: 6, next: 4 })
  })

  it('without a batch axis takes and gives the whole', async () => {
    expect((await servingOf(fixedBatch()).ask({ x: [[1, 2, 3, 4]] })).prediction).toEqual([[2, 4, 6, 8]])
    expect((await servingOf(scalarInput()).ask({ x: 4 })).prediction).toBe(8)
  })

  it('classifies as its task says', async () => {
    const task = {
      type: 'classification',
      output: 'y',
      classes: ['a', 'b', 'c'],
      activation: 'softmax',
    } as const
    const { ask } = servingOf(identityModel(), { task })
    const one = await ask({ x: [0, 5, 0] })
    expect(one).toMatchObject({
      prediction: 'b',
      confidence: expect.closeTo(Math.exp(5) / (Math.exp(5) + 2)) as number,
    })
    const many = await ask({
      x: [
        [9, 0, 0],
        [0, 0, 9],
      ],
    })
    expect(many).toMatchObject({ prediction: ['a', 'c'], meta: { batchRows: 2 } })
  })

  it('takes class names from ZipMap, whose maps became a tensor', async () => {
    const { ask } = servingOf(zipMapModel(), { task: { type: 'classification', output: 'probabilities' } })
    expect((await ask({ x: [0, 9, 0, 0] })).prediction).toBe('versicolor')
    expect(
      (
        await ask({
          x: [
            [9, 0, 0, 0],
            [0, 0, 9, 0],
          ],
        })
      ).prediction,
    ).toEqual(['setosa', 'virginica'])
  })

  it('numbers its classes where nobody names them', async () => {
    const { ask } = servingOf(identityModel(), { task: { type: 'classification', output: 'y' } })
    expect((await ask({ x: [0, 0, 1] })).prediction).toBe('2')
  })
})

describe('an input that does not fit', () => {
  it.each<[unknown, string]>([
    [{}, 'm@1: input "a" is missing; it expects float32 [batch, 2].'],
    [{ a: [1, 2], b: 1, c: 1 }, 'm@1: there is no input "c". The inputs are a, b.'],
    [{ a: [1, 2], b: undefined }, 'm@1: input "b" is missing; it expects int64 [batch, 1].'],
    [
      {
        a: [
          [1, 2],
          [3, 4],
        ],
        b: 1,
      },
      'm@1: all inputs must have as many rows; "a" has 2, "b" has 1.',
    ],
    [[1], 'm@1: the input must be an object with "a", "b"; got a list of 1.'],
    [null, 'm@1: the input must be an object with "a", "b"; got null.'],
    [
      JSON.parse('{"a": [1, 2], "b": 1, "__proto__": 3}'),
      'm@1: there is no input "__proto__". The inputs are a, b.',
    ],
  ])('%j: %s', async (input, message) => {
    const { serving } = servingOf(twoInputs())
    await expect(serving.predict('m', input as never)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message,
    })
  })

  it('is refused when it has no rows', async () => {
    const { ask } = servingOf(identityModel())
    await expect(ask({ x: float32([], [0, 3]) })).rejects.toThrow(
      'm@1: an empty batch has no answer; send at least one row.',
    )
  })

  it('is refused by the schema with the path of what is wrong', async () => {
    const { serving } = servingOf(identityModel(), {
      input: z.object({ age: z.number() }) as never,
      encode: () => ({}),
    })
    await expect(serving.predict('m', { age: 'old' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/^m@1: age: /) as string,
    })
  })
})

describe("the user's own codec", () => {
  it('encodes and decodes, and sees its own feeds untouched', async () => {
    let seen: unknown
    const { ask } = servingOf(identityModel(), {
      encode: ({ values }: { values: number[] }) => ({ x: float32(values, [1, 3]) }),
      decode: ({ y }, { feeds, input }) => {
        seen = { feeds, input }
        return scored(y?.data[2], 0.5)
      },
    })
    expect(await ask({ values: [1, 2, 3] })).toMatchObject({ prediction: 3, confidence: 0.5 })
    expect(seen).toEqual({ feeds: { x: float32([1, 2, 3], [1, 3]) }, input: { values: [1, 2, 3] } })
  })

  it('keeps the arrays it gave: nothing of the caller is detached, or read after encode', async () => {
    const mine = float32([1, 2, 3], [1, 3])
    const { ask } = servingOf(loopModel({ ms: 20 }), {
      encode: () => ({ x: float32([1, 2, 3, 4], [1, 4]) }),
    })
    const { ask: identity } = servingOf(identityModel(), { encode: () => ({ x: mine }) })
    const answer = identity({})
    await Promise.resolve()
    expect(mine.data).toHaveLength(3)
    expect((await answer).prediction).toEqual([1, 2, 3])
    expect((await ask({})).prediction).toEqual([1, 2, 3, 4])
  })

  it('that fails or gives what does not fit is told as its own fault', async () => {
    const failing = (encode: unknown, decode?: unknown) =>
      servingOf(identityModel(), { encode, ...(decode === undefined ? {} : { decode }) } as Options).ask({})
    await expect(
      failing(() => {
        throw new Error('no tokenizer')
      }),
    ).rejects.toMatchObject({ code: 'INVALID_CODEC', message: 'm@1: encode failed: no tokenizer' })
    await expect(failing(() => ({}))).rejects.toMatchObject({
      code: 'INVALID_CODEC',
      message: 'm@1: encode gave no tensor for input "x".',
    })
    await expect(failing(() => ({ x: float32([1]) }))).rejects.toMatchObject({
      code: 'INVALID_CODEC',
      message: 'm@1: input "x" expects float32 [batch, 3]; got a tensor of shape [1].',
    })
    await expect(failing(() => ({ x: float32([1, 2, 3], [1, 3]), z: float32([1]) }))).rejects.toThrow(
      'm@1: there is no input "z". The inputs are x.',
    )
    await expect(
      failing(
        () => ({ x: float32([1, 2, 3], [1, 3]) }),
        () => {
          throw new Error('odd')
        },
      ),
    ).rejects.toThrow('m@1: decode failed: odd')
  })

  it('is made for each version from its folder', async () => {
    const { ask } = servingOf(identityModel(), {
      codec: ({ version, dir }: { version: string; dir: string }) => ({
        decode: () => `${version} in ${dir.split('/').at(-1)}`,
      }),
    })
    expect((await ask({ x: [1, 2, 3] })).prediction).toBe('1 in 1')
  })

  it('names outputs with their dtypes, which are checked at load', async () => {
    const { serving } = servingOf(identityModel(), { outputs: { y: 'int64' } })
    await expect(serving.ready()).rejects.toThrow(
      'm@1: output "y" is not int64. The model gives "y" (float32 [batch, 3]).',
    )
  })
})

describe('predict', () => {
  it('says how the answer came about', async () => {
    const { ask } = servingOf(identityModel())
    const { meta } = await ask({ x: [1, 2, 3] }, { requestId: 'abc' })
    expect(meta).toEqual({
      requestId: 'abc',
      model: 'm',
      version: '1',
      cache: 'off',
      batchRows: 1,
      queueMs: expect.any(Number) as number,
      computeMs: expect.any(Number) as number,
      latencyMs: expect.any(Number) as number,
    })
    expect(meta.latencyMs).toBeGreaterThanOrEqual(meta.queueMs + meta.computeMs)
  })

  it('answers concurrent requests each with its own', async () => {
    const { ask } = servingOf(identityModel())
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask({ x: [i, i + 1, i + 2] })))
    expect(answers.map((answer) => answer.prediction)).toEqual(answers.map((_, i) => [i, i + 1, i + 2]))
  })

  it('rejects at its deadline and at its abort, while the run goes on', async () => {
    const { serving, ask } = servingOf(loopModel({ ms: 300 }))
    await serving.ready()
    await expect(ask({ x: [1, 2, 3, 4] }, { timeoutMs: 1 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      status: 504,
    })
    const caller = new AbortController()
    const aborted = ask({ x: [1, 2, 3, 4] }, { signal: caller.signal })
    caller.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await ask({ x: [1, 2, 3, 4] })).prediction).toEqual([1, 2, 3, 4])
  })

  it('leaves no failure to nobody: a wrong input whose caller has gone already ends no process', async () => {
    const { ask } = servingOf(identityModel(), {
      input: z.object({ x: z.array(z.number().max(1)) }) as never,
    })
    const gone = { signal: AbortSignal.abort() }
    await expect(ask({ x: [2, 2, 2] }, gone)).rejects.toMatchObject({ code: 'ABORTED' })
    await new Promise(setImmediate) // an unhandled rejection would fail the run
  })

  it('refuses beyond the rows of the queue', async () => {
    const { serving, ask } = servingOf(loopModel({ ms: 50 }), { maxQueueRows: 1 })
    await serving.ready()
    const settled = await Promise.allSettled(Array.from({ length: 6 }, () => ask({ x: [1, 2, 3, 4] })))
    const refused = settled.filter((answer) => answer.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: 'QUEUE_FULL', status: 503, retryable: true })
    expect(refused.length).toBeLessThan(6)
  })

  it.each<[object, RegExp]>([
    [{ timeout: 3 }, /unknown option "timeout"\. Did you mean "timeoutMs"\?/],
    [{ timeoutMs: -1 }, /timeoutMs must be an integer from 1/],
    [{ signal: 'x' }, /signal must be an AbortSignal/],
  ])('refuses the option %j', async (options, message) => {
    const { serving } = servingOf(identityModel())
    await expect(serving.predict('m', { x: [1, 2, 3] }, options)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(message) as string,
    })
  })

  it('is refused after close, and close joins itself', async () => {
    const { serving, ask } = servingOf(identityModel())
    await serving.ready()
    const last = ask({ x: [1, 2, 3] })
    const closed = serving.close()
    expect((await last).prediction).toEqual([1, 2, 3])
    await expect(ask({ x: [1, 2, 3] })).rejects.toMatchObject({ code: 'CLOSED' })
    expect(serving.readiness()).toMatchObject({ status: 'not_ready', problems: ['the serving is closing'] })
    await closed
    await serving.close()
  })
})

describe('batching, where it is declared,', () => {
  it('joins concurrent requests to runs of at most maxBatchSize rows, each answered with its own', async () => {
    const { serving, ask } = servingOf(identityModel(), { batching: { safe: true, maxBatchSize: 16 } })
    await serving.ready()
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask({ x: [i, 2 * i, 3 * i] })))
    expect(answers.map((answer) => answer.prediction)).toEqual(answers.map((_, i) => [i, 2 * i, 3 * i]))
    const sizes = answers.map((answer) => answer.meta.batchRows)
    expect(Math.max(...sizes)).toBe(16)
  })

  it('splits a request above the cap and joins its answer', async () => {
    const { ask } = servingOf(identityModel({ dtype: 'string', shape: ['N'] }), {
      batching: { safe: true, maxBatchSize: 3 },
    })
    const words = Array.from({ length: 10 }, (_, i) => `word ${i}`)
    const { prediction, meta } = await ask({ x: words })
    expect(prediction).toEqual(words)
    expect(meta.batchRows).toBe(3)
  })

  it('splits a large request whose parts the session takes the memory of', async () => {
    const width = 1024
    const artifact = identityModel({ shape: ['batch', width] })
    const { ask } = servingOf(artifact, { placement: 'thread', batching: { safe: true, maxBatchSize: 32 } })
    const x = Array.from({ length: 100 }, (_, row) =>
      Array.from({ length: width }, (_, i) => row * 2 + (i % 2)),
    )
    expect((await ask({ x })).prediction).toEqual(x)
  })

  it('of requests of several shapes mixes none', async () => {
    const { ask } = servingOf(identityModel({ shape: ['N', 'length'] }), { batching: true })
    const inputs = Array.from({ length: 60 }, (_, i) => Array.from({ length: 1 + (i % 3) }, () => i))
    const answers = await Promise.all(inputs.map((x) => ask({ x })))
    expect(answers.map((answer) => answer.prediction)).toEqual(inputs)
  })

  it('is refused at load for a model without a batch axis', async () => {
    const { serving } = servingOf(fixedBatch(), { batching: true })
    await expect(serving.ready()).rejects.toThrow(
      'm@1: batching needs a leading axis of variable length in every input; the model takes "x" (float32 [1, 4]).',
    )
  })
})

describe('a cache, where it is asked for,', () => {
  it('keeps the answer to the input as it was, also where another’s refusal makes it come later', async () => {
    const { serving, ask } = servingOf(loopModel({ ms: 400 }), {
      placement: 'thread',
      cache: true,
      maxQueueRows: 1,
    })
    await serving.ready()
    const fillers = [1, 2, 3].map(async (value) => {
      await new Promise((resolve) => setTimeout(resolve, value * 5))
      return ask({ x: [value, 0, 0, 0] })
    })
    await new Promise((resolve) => setTimeout(resolve, 25))
    const x = Float32Array.of(5, 6, 7, 8)
    const refused = expect(ask({ x })).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    const patient = ask({ x }, { whenFull: 'wait' })
    x.fill(9)
    await refused
    expect((await patient).prediction).toEqual([5, 6, 7, 8])
    expect(await ask({ x: [5, 6, 7, 8] })).toMatchObject({ prediction: [5, 6, 7, 8], meta: { cache: 'hit' } })
    await Promise.all(fillers)
  })

  it('answers equal inputs again, and computes once for those under way together', async () => {
    const { ask } = servingOf(identityModel(), { cache: true })
    const together = await Promise.all([1, 2, 3].map(() => ask({ x: [1, 2, 3] })))
    expect(together.map(({ meta }) => meta.cache)).toEqual(['miss', 'coalesced', 'coalesced'])
    const again = await ask({ x: new Float32Array([1, 2, 3]) })
    expect(again).toMatchObject({ prediction: [1, 2, 3], meta: { cache: 'hit', batchRows: 0, computeMs: 0 } })
    expect((await ask({ x: [1, 2, 4] })).meta.cache).toBe('miss')
    expect((await ask({ x: [1, 2, 3] }, { cache: false })).meta.cache).toBe('off')
  })

  it("is not changed by what a user's decode does to its outputs", async () => {
    const { ask } = servingOf(identityModel(), {
      cache: true,
      decode: ({ y }) => (y?.data as Float32Array).fill(7).length,
    })
    await ask({ x: [1, 2, 3] })
    const { ask: read } = servingOf(identityModel(), {
      cache: true,
      decode: ({ y }) => {
        const before = Array.from(y?.data as Float32Array)
        ;(y?.data as Float32Array).fill(7)
        return before
      },
    })
    for (let i = 0; i < 3; i++) expect((await read({ x: [1, 2, 3] })).prediction).toEqual([1, 2, 3])
  })

  it('keeps nothing of what changed while it waited: the input is read once', async () => {
    const { serving, ask } = servingOf(identityModel(), { cache: true })
    await serving.ready()
    const mine = new Float32Array([1, 2, 3])
    const first = ask({ x: mine })
    mine.fill(9)
    expect((await first).prediction).toEqual([1, 2, 3])
    expect((await ask({ x: [1, 2, 3] })).meta.cache).toBe('hit')
    expect((await ask({ x: [9, 9, 9] })).prediction).toEqual([9, 9, 9])
  })
})

describe('a model that would end the process or fail at every run', () => {
  it('is refused at load', async () => {
    const { serving } = servingOf(sequenceOutput())
    await expect(serving.ready()).rejects.toThrow(/output "y" is not a tensor, which can't be served/)
  })
})

describe('metrics', () => {
  it('count requests by outcome, and name only what exists', async () => {
    const { serving, ask } = servingOf(identityModel(), { decode: () => scored('x', 0.75) })
    await ask({ x: [1, 2, 3] })
    await ask({ x: [1] }).catch(() => {})
    await serving.predict('evil' as never, {} as never).catch(() => {})
    await ask({ x: [1, 2, 3] }, { version: 'evil' }).catch(() => {})
    const { body } = await serving.metrics.exposition()
    expect(body).toContain('model_requests_total{model="m",model_version="1",status="success"} 1')
    expect(body).toContain('model_requests_total{model="m",model_version="1",status="invalid_input"} 1')
    expect(body).toContain(
      'model_requests_total{model="unknown",model_version="unknown",status="model_not_found"} 1',
    )
    expect(body).toContain(
      'model_requests_total{model="m",model_version="unknown",status="version_not_found"} 1',
    )
    expect(body).toContain('model_request_latency_seconds_count{model="m",model_version="1"} 2')
    expect(body).toContain('prediction_confidence_bucket{le="0.8",model="m",model_version="1"} 1')
    expect(body).toContain('prediction_confidence_bucket{le="0.7",model="m",model_version="1"} 0')
    expect(body).toMatch(/model_load_time_seconds\{model="m",model_version="1"\} \d/)
    expect(body).not.toContain('evil')
  })

  it('tell queue, runs, states and the cache', async () => {
    const { serving, ask } = servingOf(identityModel(), { cache: true, batching: true })
    await ask({ x: [1, 2, 3] })
    await ask({ x: [1, 2, 3] })
    const { body } = await serving.metrics.exposition()
    for (const line of [
      'model_version_state{model="m",model_version="1",state="ready"} 1',
      'model_queue_rows{model="m",model_version="1"} 0',
      'model_requests_in_flight{model="m",model_version="1"} 0',
      'model_queue_seconds_count{model="m",model_version="1"} 1',
      'model_compute_seconds_count{model="m",model_version="1"} 1',
      'model_batch_rows_sum{model="m",model_version="1"} 1',
      'model_cache_requests_total{model="m",model_version="1",result="hit"} 1',
      'model_cache_requests_total{model="m",model_version="1",result="miss"} 1',
      'model_cache_bytes{model="m",model_version="1"} 12',
      'model_session_instances{model="m",model_version="1"} 1',
      'model_worker_deaths_total{model="m",model_version="1"} 0',
    ]) {
      expect(body).toContain(line)
    }
    expect(body).toMatch(/event_loop_delay_seconds\{quantile="0\.99"\} \d/)
  })

  it('refuse a registry that has a metric of one of their names, and leave it as it was', () => {
    for (const name of ['model_load_time_seconds', 'model_queue_rows', 'event_loop_delay_seconds']) {
      const registry = new Registry()
      new Counter({ name, help: 'the host’s own', registers: [registry] })
      expect(() => createServing({ registry })).toThrow(`the registry has a metric ${name} of its own`)
      expect(registry.getMetricsAsArray()).toHaveLength(1)
    }
  })

  it('are there again for a serving that comes after the host cleared its registry', async () => {
    const registry = new Registry()
    const first = servingOf(identityModel(), {}, { registry })
    await first.serving.ready()
    await first.serving.close()
    registry.clear()
    const { serving, ask } = servingOf(identityModel(), {}, { registry })
    await ask({ x: [1, 2, 3] })
    expect(await registry.metrics()).toMatch(/model_version_state\{[^}]*state="ready"\} 1/)
    expect(await registry.metrics()).toContain('event_loop_delay_seconds')
    await serving.close()
  })

  it("go to the host's registry, which two servings may share", async () => {
    const registry = new Registry()
    const one = servingOf(identityModel(), {}, { registry })
    const two = servingOf(identityModel(), {}, { registry })
    await Promise.all([one.ask({ x: [1, 2, 3] }), two.ask({ x: [1, 2, 3] })])
    expect(await registry.metrics()).toContain(
      'model_requests_total{model="m",model_version="1",status="success"} 2',
    )
  })
})

describe('createServing', () => {
  it.each<[object, RegExp]>([
    [{ modls: {} }, /createServing\(\): unknown option "modls"\. Did you mean "models"\?/],
    [{ models: { a: './x' } }, /models\.a must be made by onnx\(\), custom\(\) or pipeline\(\); got "\.\/x"/],
    [{ models: { '../x': onnx({ source: 'x' }) } }, /"\.\.\/x" can't name a model/],
    [{ logger: {} }, /logger must be a logger with debug, info, warn and error/],
    [{ registry: {} }, /registry must be prom-client's Registry/],
  ])('refuses %j at once', (options, message) => {
    expect(() => createServing(options)).toThrow(message)
  })

  it('of a repository serves all of its models, and onnx() refuses wrong options at once', async () => {
    await using serving = createServing({
      repository: temporaryRepository({ 'a/1/model.onnx': mlp([2, 2]) }),
      logger: quietLogger(),
    })
    await serving.ready()
    expect(serving.models.names()).toEqual(['a'])
    expect(() => onnx({ sorce: 'x' } as never)).toThrow(
      /onnx\(\): unknown option "sorce"\. Did you mean "source"\?/,
    )
  })
})

it('classify is what decode makes a classification with', async () => {
  const { ask } = servingOf(identityModel(), { decode: ({ y }) => classify(y, ['a', 'b', 'c']) })
  expect(await ask({ x: [0, 1, 0] })).toMatchObject({
    prediction: 'b',
    confidence: 1,
    scores: { a: 0, b: 1, c: 0 },
  })
})
