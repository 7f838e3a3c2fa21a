import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { coreCount, setPermits } from '../src/execution/permits.js'
import {
  createServing,
  custom,
  onnx,
  pipeline,
  scored,
  ServingError,
  type AnyModel,
  type ServingOptions,
} from '../src/index.js'
import { asAny, Gate } from './contract/serving.js'
import { temporaryFolder } from './execution/support.js'
import { quietLogger } from './models/quiet-logger.js'
import { writeInto } from './models/temporary-repository.js'
import { identityModel } from './onnx/models.js'

/** A serving, closed with the test, of any models. */
function servingOf(models: Record<string, AnyModel>, options: ServingOptions & { repository?: string } = {}) {
  const serving = asAny(createServing({ models, logger: quietLogger(), ...options }))
  onTestFinished(() => serving.close())
  return serving
}

/** A model that makes each number another. */
function map(change: (row: number) => number | Promise<number>, options: object = {}): AnyModel {
  return custom({
    load: () => null,
    run: (_, rows: number[]) => Promise.all(rows.map(async (row) => change(row))),
    ...options,
  })
}

const addOne = () => map((row) => row + 1)
const double = () => map((row) => row * 2)
const turn = () => new Promise(setImmediate)

/** A model that answers when the test says so, and tells what it was asked and whether anyone still waits. */
function held() {
  const gate = new Gate()
  const asked: number[] = []
  const signals: AbortSignal[] = []
  const model = custom({
    load: () => null,
    run: async (_, rows: number[], { signal }) => {
      asked.push(...rows)
      signals.push(signal)
      await gate.opened
      return rows
    },
  })
  return { model, gate, asked, signals }
}

describe('models in a row', () => {
  it('are given each the prediction of the one before', async () => {
    const serving = servingOf({ addOne: addOne(), double: double(), both: pipeline(['addOne', 'double']) })
    const { prediction, meta } = await serving.predict('both', 3)
    expect(prediction).toBe(8)
    expect(meta).toMatchObject({ model: 'both', version: '1', cache: 'off', batchRows: 1 })
    expect(meta.stages).toEqual([
      {
        model: 'addOne',
        version: '1',
        cache: 'off',
        batchRows: 1,
        queueMs: expect.any(Number),
        computeMs: expect.any(Number),
        latencyMs: expect.any(Number),
      },
      expect.objectContaining({ model: 'double', version: '1' }),
    ])
  })

  it('may be given what is made of the prediction before and of the input', async () => {
    const serving = servingOf({
      double: double(),
      p: pipeline([
        { model: 'double', input: (previous: number, original: number) => previous + original },
        { model: 'double', input: async (previous: number, original: number) => previous + original },
      ]),
    })
    expect((await serving.predict('p', 1)).prediction).toBe(10)
  })

  it('answer with all that the last one says', async () => {
    const serving = servingOf({
      addOne: addOne(),
      sure: custom({ load: () => null, run: (_, rows) => rows.map((row) => scored(row, 0.75)) }),
      p: pipeline(['addOne', 'sure']),
    })
    expect(await serving.predict('p', 1)).toMatchObject({ prediction: 2, confidence: 0.75 })
  })

  it('may be of a version each, which is loaded beside the one that serves', async () => {
    const folder = temporaryFolder()
    writeInto(folder, 'v/1/x', 'one')
    writeInto(folder, 'v/2/x', 'two')
    for (const lazy of [false, true]) {
      const serving = servingOf({
        v: custom({
          source: `${folder}/v`,
          lazy,
          load: ({ version }) => version,
          run: (version, rows: string[]) => rows.map((row) => row + version),
        }),
        p: pipeline(['v', { model: 'v', version: '1' }, { model: 'v', version: 'latest' }]),
      })
      await serving.ready()
      const { prediction, meta } = await serving.predict('p', 'v')
      expect(prediction).toBe('v212')
      expect(meta.stages?.map(({ version }) => version)).toEqual(['2', '1', '2'])
    }
  })

  it('run on onnxruntime as on code, each batched by itself', async () => {
    const folder = temporaryFolder()
    writeInto(folder, 'identity/1/model.onnx', identityModel())
    const serving = servingOf({
      identity: onnx({
        source: `${folder}/identity`,
        placement: 'thread',
        batching: { safe: true, maxBatchSize: 16 },
      }),
      sum: custom({
        batching: { safe: true, maxBatchSize: 16 },
        concurrency: 1,
        load: () => null,
        run: async (_, rows: number[][]) => {
          await turn()
          return rows.map((row) => row.reduce((a, b) => a + b, 0))
        },
      }),
      p: pipeline(['identity', 'sum']),
    })
    await serving.ready()
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, i) => serving.predict('p', { x: [i, 1, 2] })),
    )
    expect(answers.map(({ prediction }) => prediction)).toEqual(answers.map((_, i) => i + 3))
    for (const model of ['identity', 'sum']) {
      const rows = answers.map(({ meta }) => meta.stages?.find((stage) => stage.model === model)?.batchRows)
      expect(Math.max(...rows.map(Number)), model).toBeGreaterThan(1)
    }
  })
})

describe('a function over predictions', () => {
  it('asks what it likes, and answers with any value', async () => {
    const serving = servingOf({
      addOne: addOne(),
      double: double(),
      p: pipeline(async (input: number, { predict }) => {
        const each = await Promise.all([predict('addOne', input), predict('double', input)])
        return each.map(({ prediction }) => prediction as number)
      }),
    })
    const { prediction, meta } = await serving.predict('p', 5)
    expect(prediction).toEqual([6, 10])
    expect(meta.stages?.map(({ model }) => model)).toEqual(['addOne', 'double'])
  })

  it('passes a stage’s answer on, where it returns one', async () => {
    const serving = servingOf({
      sure: custom({ load: () => null, run: (_, rows) => rows.map((row) => scored(row, 0.5)) }),
      p: pipeline((input, { predict }) => predict('sure', input), { cache: true }),
    })
    for (const cache of ['miss', 'hit']) {
      const { prediction, confidence, meta } = await serving.predict('p', 'x')
      expect({ prediction, confidence, cache: meta.cache }).toEqual({
        prediction: 'x',
        confidence: 0.5,
        cache,
      })
      expect(meta.model).toBe('p')
    }
  })

  it('is held to its schema', async () => {
    const serving = servingOf({
      double: double(),
      p: pipeline(async ({ n }, { predict }) => (await predict('double', n)).prediction as number, {
        input: z.object({ n: z.coerce.number().max(9) }),
      }),
    })
    expect((await serving.predict('p', { n: '4' })).prediction).toBe(8)
    await expect(serving.predict('p', { n: 10 })).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  })

  it('that fails is told as such', async () => {
    const serving = servingOf({
      p: pipeline(() => {
        throw new Error('no idea')
      }),
    })
    await expect(serving.predict('p', 1)).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'p@1: run failed: no idea',
    })
  })

  it('that asks itself without end is found out', async () => {
    let calls = 0
    const serving = servingOf({
      a: pipeline((input, { predict }) => predict('b', ++calls + Number(input))),
      b: pipeline((input, { predict }) => predict('a', input)),
    })
    await expect(serving.predict('a', 1)).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: expect.stringMatching(/more than 16 deep: \.\.\. > b@1 > a@1 > b@1 > a@1\.$/) as string,
    })
    expect(calls).toBe(8)
  })

  it('that asks itself the same without end is found out although answers are kept', async () => {
    const serving = servingOf({
      a: pipeline((input, { predict }) => predict('b', input), { cache: true }),
      b: pipeline((input, { predict }) => predict('a', input), { cache: true }),
    })
    const answers = await Promise.allSettled([serving.predict('a', 1), serving.predict('b', 1)])
    for (const answer of answers) expect(answer).toMatchObject({ reason: { code: 'INFERENCE_FAILED' } })
  })
})

describe('a pipeline’s stages share', () => {
  it('the request id, over any number of pipelines', async () => {
    const seen: string[] = []
    const inner = pipeline((input, { predict, requestId }) => {
      seen.push(requestId)
      return predict('addOne', input)
    })
    const serving = servingOf({ addOne: addOne(), inner, outer: pipeline(['inner', 'addOne']) })
    const { prediction, meta } = await serving.predict('outer', 1, { requestId: 'r-1' })
    expect(prediction).toBe(3)
    expect(meta.requestId).toBe('r-1')
    expect(seen).toEqual(['r-1'])
    expect(meta.stages).toMatchObject([
      { model: 'inner', stages: [{ model: 'addOne' }] },
      { model: 'addOne' },
    ])
    const unnamed = await serving.predict('outer', 1)
    expect(seen[1]).toBe(unnamed.meta.requestId)
  })

  it('the deadline, which ends them all', async () => {
    const stage = held()
    const serving = servingOf({
      addOne: addOne(),
      held: stage.model,
      p: pipeline(['addOne', 'held', 'addOne']),
    })
    await serving.ready()
    await expect(serving.predict('p', 1, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    await turn()
    expect(stage.asked).toEqual([2])
    expect(stage.signals[0]?.aborted).toBe(true)
    stage.gate.open()
  })

  it('the deadline, which a stage may only shorten', async () => {
    const stage = held()
    const serving = servingOf({
      held: stage.model,
      short: pipeline([{ model: 'held', timeoutMs: 20 }]),
      long: pipeline((input, { predict }) => predict('held', input, { timeoutMs: 600_000 })),
    })
    await serving.ready()
    await expect(serving.predict('short', 1, { timeoutMs: 600_000 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'short@1: stage held@1: the deadline passed before the answer was there',
    })
    await expect(serving.predict('long', 1, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    stage.gate.open()
  })

  it('the caller’s abort', async () => {
    const stage = held()
    const serving = servingOf({ held: stage.model, inner: pipeline(['held']), p: pipeline(['inner']) })
    await serving.ready()
    const caller = new AbortController()
    const answer = serving.predict('p', 1, { signal: caller.signal })
    await turn()
    caller.abort()
    await expect(answer).rejects.toMatchObject({ code: 'ABORTED' })
    expect(stage.signals[0]?.aborted).toBe(true)
    stage.gate.open()
  })

  it('the priority, and the wish to keep no answer', async () => {
    const order: number[] = []
    const gate = new Gate()
    const serving = servingOf({
      slow: custom({
        concurrency: 1,
        cache: true,
        load: () => null,
        run: async (_, rows: number[]) => {
          order.push(...rows)
          await gate.opened
          return rows
        },
      }),
      p: pipeline(['slow']),
    })
    await serving.ready()
    const answers = [serving.predict('p', 1)]
    await turn()
    answers.push(serving.predict('p', 2, { priority: 'low' }), serving.predict('p', 3))
    answers.push(serving.predict('p', 4, { priority: 'high', cache: false }))
    await turn()
    gate.open()
    const metas = (await Promise.all(answers)).map(({ meta }) => meta.stages?.[0]?.cache)
    expect(order).toEqual([1, 4, 3, 2])
    expect(metas).toEqual(['miss', 'miss', 'miss', 'off'])
  })

  it('the deadline that is the pipeline’s own', async () => {
    const stage = held()
    const serving = servingOf({ held: stage.model, p: pipeline(['held'], { timeoutMs: 20 }) })
    await serving.ready()
    await expect(serving.predict('p', 1)).rejects.toMatchObject({ code: 'TIMEOUT' })
    await turn()
    expect(stage.signals[0]?.aborted).toBe(true)
    stage.gate.open()
  })

  it('the willingness to wait where a queue is full', async () => {
    const serving = servingOf({
      slow: map(
        async (row) => {
          await turn()
          return row
        },
        { concurrency: 1, maxQueueRows: 1 },
      ),
      p: pipeline(['slow', 'slow'], { maxInFlight: 4 }),
    })
    const answers: unknown[] = []
    for await (const { prediction } of serving.predictMany('p', [1, 2, 3, 4, 5, 6, 7, 8, 9]))
      answers.push(prediction)
    expect(answers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})

describe('what a pipeline asks for and does not wait for', () => {
  it('is aborted once it has answered, and ends nothing', async () => {
    const stage = held()
    let late: ((model: string, input: unknown) => Promise<unknown>) | undefined
    const serving = servingOf({
      held: stage.model,
      p: pipeline(async (_input, { predict }) => {
        void predict('held', 1)
        late = predict
        await turn()
        return 'done'
      }),
    })
    await serving.ready()
    const { prediction, meta } = await serving.predict('p', 0)
    expect(prediction).toBe('done')
    expect(meta.stages).toEqual([])
    expect(stage.signals[0]?.aborted).toBe(true)
    await expect(late?.('held', 2)).rejects.toMatchObject({ code: 'ABORTED' })
    expect(stage.asked).toEqual([1])
    stage.gate.open()
  })

  it('is aborted where it fails', async () => {
    const stage = held()
    const serving = servingOf({
      held: stage.model,
      broken: map(() => Promise.reject(new Error('no'))),
      p: pipeline((_input, { predict }) => Promise.all([predict('held', 1), predict('broken', 1)])),
    })
    await serving.ready()
    await expect(serving.predict('p', 0)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    expect(stage.signals[0]?.aborted).toBe(true)
    stage.gate.open()
  })
})

describe('the error of a stage', () => {
  const folder = temporaryFolder()
  writeInto(folder, 'identity/1/model.onnx', identityModel())
  const identity = () => onnx({ source: `${folder}/identity`, placement: 'inline' })

  it('names stage and pipeline, and is the caller’s where the stage was given its input', async () => {
    const serving = servingOf({
      identity: identity(),
      inner: pipeline(['identity']),
      outer: pipeline((input, { predict }) => predict('inner', input)),
    })
    await expect(serving.predict('outer', { x: [1] })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(
        /^outer@1: stage inner@1: stage identity@1: input "x" expects /,
      ) as string,
    })
  })

  it('is the pipeline’s where the pipeline made the input', async () => {
    const serving = servingOf({
      identity: identity(),
      row: pipeline(['identity', 'identity']),
      made: pipeline([{ model: 'identity', input: () => ({ x: 'text' }) }]),
    })
    await expect(serving.predict('row', { x: [1, 2, 3] })).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: expect.stringMatching(/^row@1: stage identity@1: /) as string,
      cause: { code: 'INVALID_INPUT' },
    })
    await expect(serving.predict('made', {})).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
  })

  it('keeps its code for the function, which may answer all the same', async () => {
    const codes: unknown[] = []
    const serving = servingOf({
      identity: identity(),
      p: pipeline(async (_input, { predict }) => {
        for (const ask of [
          () => predict('identity', {}),
          () => predict('nobody', {}),
          () => predict('identity', {}, { version: '7' }),
          () => predict('identity', {}, { priority: 'high' } as object),
          () => predict('identity', { x: [1, 2, 3] }, { signal: AbortSignal.abort() }),
        ]) {
          await ask().catch((error: unknown) => codes.push(ServingError.is(error) && error.code))
        }
        return 'all the same'
      }),
    })
    expect((await serving.predict('p', 0)).prediction).toBe('all the same')
    expect(codes).toEqual([
      'INVALID_INPUT',
      'MODEL_NOT_FOUND',
      'VERSION_NOT_FOUND',
      'INVALID_REQUEST',
      'ABORTED',
    ])
  })

  it('that there is no such model, or version, is no fault of the caller’s', async () => {
    const serving = servingOf({
      identity: identity(),
      model: pipeline((input, { predict }) => predict('idenity', input)),
      version: pipeline((input, { predict }) => predict('identity', input, { version: '7' })),
    })
    await expect(serving.predict('model', {})).rejects.toMatchObject({
      code: 'MODEL_NOT_READY',
      message: 'model@1: stage "idenity": no model "idenity". Did you mean "identity"?',
    })
    await expect(serving.predict('version', {})).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  })

  it('may be answered by the stage’s fallback, or the pipeline’s, which the answer says', async () => {
    const broken = (fallback: string) => map(() => Promise.reject(new Error('no')), { fallback })
    const serving = servingOf({
      broken: broken('addOne'),
      addOne: addOne(),
      stage: pipeline(['broken', 'addOne'], { cache: true }),
      failing: pipeline([{ model: 'addOne', input: () => Promise.reject(new Error('no')) }], {
        fallback: 'addOne',
      }),
    })
    for (const cache of ['miss', 'hit']) {
      const { prediction, meta } = await serving.predict('stage', 1)
      expect({ prediction, cache: meta.cache, degraded: meta.degraded }).toEqual({
        prediction: 3,
        cache,
        degraded: 'fallback',
      })
    }
    const { prediction, meta } = await serving.predict('failing', 1)
    expect({ prediction, model: meta.model }).toEqual({ prediction: 2, model: 'addOne' })
  })
})

describe('a pipeline never waits for itself', () => {
  it('with one permit, many at once, stages shared, and pipelines in pipelines', async () => {
    const folder = temporaryFolder()
    writeInto(folder, 'identity/1/model.onnx', identityModel())
    const row = (previous: number[]) => ({ x: previous })
    const again = { model: 'identity', input: row }
    const serving = servingOf(
      {
        identity: onnx({ source: `${folder}/identity`, placement: 'thread', instances: 2 }),
        two: pipeline(['identity', again]),
        four: pipeline(['two', { model: 'two', input: row }]),
        eight: pipeline(async (input: object, { predict }) => {
          const each = await Promise.all([predict('four', input), predict('four', input)])
          return each[1]
        }),
      },
      { permits: 1 },
    )
    onTestFinished(() => setPermits(coreCount()))
    await serving.ready()
    const names = ['two', 'four', 'eight', 'identity']
    const answers = await Promise.all(
      Array.from({ length: 80 }, (_, i) => serving.predict(names[i % 4] ?? '', { x: [i, 0, 1] })),
    )
    expect(answers.map(({ prediction }) => prediction)).toEqual(answers.map((_, i) => [i, 0, 1]))
  })

  it('where one beyond maxInFlight is refused at once, and a stage never waits for room', async () => {
    const stage = held()
    const serving = servingOf({
      held: stage.model,
      p: pipeline(['held'], { maxInFlight: 1 }),
      again: pipeline((input, { predict }) => predict('again', input), { maxInFlight: 1 }),
    })
    await serving.ready()
    const first = serving.predict('p', 1)
    await expect(serving.predict('p', 2)).rejects.toMatchObject({
      code: 'QUEUE_FULL',
      message: 'p@1: 1 runs of at most 1 are under way.',
    })
    const waiting = serving.predict('p', 3, { whenFull: 'wait' })
    const impatient = serving.predict('p', 4, { whenFull: 'wait', timeoutMs: 20 })
    await expect(impatient).rejects.toMatchObject({ code: 'TIMEOUT' })
    stage.gate.open()
    expect((await first).prediction).toBe(1)
    expect((await waiting).prediction).toBe(3)
    expect(stage.asked).toEqual([1, 3])
    await expect(serving.predict('again', 1, { whenFull: 'wait' })).rejects.toMatchObject({
      code: 'QUEUE_FULL',
    })
  })
})

describe('close', () => {
  it('ends the requests of pipelines first, whose stages can answer until then', async () => {
    const stage = held()
    const serving = servingOf({
      held: stage.model,
      addOne: addOne(),
      inner: pipeline(['addOne']),
      p: pipeline(['held', 'inner', 'addOne']),
    })
    await serving.ready()
    const answer = serving.predict('p', 1)
    await turn()
    const closed = serving.close()
    await expect(serving.predict('addOne', 1)).rejects.toMatchObject({ code: 'CLOSED' })
    await turn()
    stage.gate.open()
    expect((await answer).prediction).toBe(3)
    await closed
  })

  it('refuses a pipeline that takes longer than drainTimeoutMs', async () => {
    const serving = servingOf({ p: pipeline(() => new Promise<never>(() => {})) }, { drainTimeoutMs: 10 })
    await serving.ready()
    const answer = expect(serving.predict('p', 1)).rejects.toMatchObject({ code: 'CLOSED' })
    await serving.close()
    await answer
  })

  it('refuses a pipeline whose stage takes longer than drainTimeoutMs, and asks the next one nothing', async () => {
    const stage = held()
    const next = held()
    const serving = servingOf(
      { held: stage.model, next: next.model, p: pipeline(['held', 'next']) },
      { drainTimeoutMs: 10 },
    )
    await serving.ready()
    const answer = expect(serving.predict('p', 1)).rejects.toMatchObject({ code: 'CLOSED' })
    await serving.close()
    await answer
    stage.gate.open()
    await turn()
    expect(next.asked).toEqual([])
  })
})

describe('the cache of a pipeline', () => {
  it('gives an answer again without asking a stage, until a stage is another version', async () => {
    const folder = temporaryFolder()
    writeInto(folder, 'v/1/x', 'one')
    writeInto(folder, 'v/2/x', 'two')
    const serving = servingOf({
      v: custom({
        source: `${folder}/v`,
        load: ({ version }) => version,
        run: (version, rows: string[]) => rows.map((row) => row + version),
      }),
      p: pipeline(['v'], { cache: true }),
    })
    await serving.ready()
    const ask = async () => {
      const { prediction, meta } = await serving.predict('p', 'v')
      return [prediction, meta.cache, meta.stages?.length]
    }
    expect(await ask()).toEqual(['v2', 'miss', 1])
    expect(await ask()).toEqual(['v2', 'hit', 0])
    await serving.models.switchVersion('v', '1')
    expect(await ask()).toEqual(['v1', 'miss', 1])
  })

  it('computes once for equal requests, until the last of them gives up', async () => {
    const stage = held()
    const serving = servingOf({ held: stage.model, p: pipeline(['held'], { cache: true }) })
    await serving.ready()
    const callers = [new AbortController(), new AbortController()]
    const answers = callers.map(({ signal }) =>
      expect(serving.predict('p', 1, { signal })).rejects.toMatchObject({ code: 'ABORTED' }),
    )
    await turn()
    callers[0]?.abort()
    await answers[0]
    expect(stage.asked).toEqual([1])
    expect(stage.signals[0]?.aborted).toBe(false)
    callers[1]?.abort()
    await answers[1]
    expect(stage.signals[0]?.aborted).toBe(true)
    stage.gate.open()
  })
})

describe('a pipeline is a model', () => {
  it('that is listed, counted and drained like every other', async () => {
    const serving = servingOf({
      addOne: addOne(),
      p: pipeline(['addOne', { model: 'addOne', version: '1' }], { description: 'adds two' }),
      f: pipeline((input, { predict }) => predict('addOne', input as never), {
        models: { addOne: addOne() },
      }),
    })
    await serving.ready()
    await serving.predict('p', 1)
    expect(serving.models.get('p')).toMatchObject({
      name: 'p',
      description: 'adds two',
      current: '1',
      versions: [{ version: '1', state: 'ready' }],
      stages: [{ model: 'addOne' }, { model: 'addOne', version: '1' }],
    })
    expect(serving.models.get('f').stages).toEqual([{ model: 'addOne' }])
    expect(serving.models.get('addOne')).not.toHaveProperty('stages')
    const { body } = await serving.metrics.exposition()
    expect(body).toContain('model_requests_total{model="p",model_version="1",status="success"} 1')
    expect(body).toContain('model_requests_total{model="addOne",model_version="1",status="success"} 2')
    expect(body).toContain('model_batch_rows_count{model="p",model_version="1"} 1')
    await serving.drain()
  })

  it('that has no source', async () => {
    const serving = servingOf({ addOne: addOne(), p: pipeline(['addOne']) })
    await expect(serving.models.load('p', '2', { source: temporaryFolder() })).rejects.toMatchObject({
      code: 'CONFLICT',
    })
    await expect(serving.models.load('p', '2')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
  })

  it('that can not serve while a stage is not there, and says which', async () => {
    const folder = temporaryFolder()
    writeInto(folder, 'identity/1/model.onnx', identityModel())
    const serving = servingOf({ p: pipeline(['identity', 'later']) }, { repository: folder })
    const message =
      'model "p" can\'t serve: p@1: stage "later": no model "later". The models are identity, p.'
    await expect(serving.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY', message })
    expect(serving.readiness()).toMatchObject({ status: 'not_ready', problems: [message] })
    await expect(serving.predict('p', {})).rejects.toMatchObject({ code: 'MODEL_NOT_READY', message })
    await serving.models.load('later', '1', { source: `${folder}/identity/1` })
    await serving.models.load('p', '1')
    await serving.ready()
  })

  it('that can not serve while the version of a stage can not be loaded', async () => {
    const serving = servingOf({ addOne: addOne(), p: pipeline([{ model: 'addOne', version: '7' }]) })
    await expect(serving.ready()).rejects.toMatchObject({
      message: expect.stringMatching(
        /^model "p" can't serve: p@1: stage "addOne": .*no version "7"/,
      ) as string,
    })
  })
})

it.each<[unknown, object, string]>([
  [
    [],
    {},
    'pipeline(): what it does must be a list of models, at least one, or a function; got a list of 0.',
  ],
  ['a', {}, 'pipeline(): what it does must be a list of models, at least one, or a function; got "a".'],
  [['a', 3], {}, 'pipeline(): stage 2: the value must be an object; got 3.'],
  [[{ modle: 'a' }], {}, 'pipeline(): stage 1: unknown option "modle". Did you mean "model"?'],
  [[{ version: '1' }], {}, 'pipeline(): stage 1: model is missing; it must be a non-empty string.'],
  [['a'], { batching: true }, 'pipeline(): unknown option "batching".'],
  [['a'], { maxInFlight: 0 }, 'pipeline(): maxInFlight must be an integer from 1 to 1000000; got 0.'],
])('pipeline(%j, %j) is refused at once', (of, options, message) => {
  expect(() => pipeline(of as never, options as never)).toThrow(message)
})
