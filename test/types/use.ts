// Compiled by `npm run types`, never run: what users write, and what is inferred from it.
import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import {
  classify,
  createServing,
  custom,
  defaultServing,
  float32,
  int64,
  onnx,
  pipeline,
  scored,
  ServingError,
  strings,
  type AnyModel,
  type Serving,
} from 'mlserving'
import { mlServing, type RequestContext } from 'mlserving/express'
import mlServingPlugin from 'mlserving/fastify'
import express from 'express'
import fastify from 'fastify'

declare const contextOf: (ip: string | undefined) => RequestContext
declare const resize: (image: Uint8Array) => Promise<Float32Array>
declare const Tokenizer: { load(path: string): Promise<{ encode(text: string): number[] }> }

interface Customer {
  id: string
  age: number
}
class Scorer {
  score(rows: Customer[]): number[] {
    return rows.map(({ age }) => age)
  }
}

export const serving = createServing({
  models: {
    sentiment: onnx({
      source: './models/sentiment',
      encode: (input: { text: string }) => ({ text: strings([input.text]) }),
      decode: ({ probabilities }) => classify(probabilities, ['negative', 'positive']),
    }),
    validated: onnx({
      source: 'x',
      input: z.object({ text: z.string(), limit: z.coerce.number() }),
      encode: ({ text, limit }) => ({ text: strings([text.slice(0, limit)]) }),
      decode: ({ y }, { input }) => scored(y === undefined ? 0 : input.limit, 0.5),
    }),
    typed: onnx({
      source: 'x',
      outputs: { logits: 'float32' },
      accepts: ['image/*'],
      encode: async (input: Uint8Array) => ({ x: float32(await resize(input), [1, 3, 224, 224]) }),
      decode: ({ logits }) => (logits.data[0] ?? 0) * 2,
    }),
    embed: onnx({
      source: 'x',
      outputs: { last_hidden_state: 'float32' },
      codec: async ({ dir }) => {
        const tokenizer = await Tokenizer.load(`${dir}/tokenizer.json`)
        return {
          encode: (input: string) => {
            const ids = tokenizer.encode(input)
            return { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) }
          },
          decode: ({ last_hidden_state }) => Array.from(last_hidden_state.data),
        }
      },
    }),
    cached: onnx({
      source: 'x',
      cache: { ttlMs: 60_000 },
      batching: { maxBatchSize: 8 },
      session: { graphOptimizationLevel: 'all', extra: { session: { intra_op: { allow_spinning: '1' } } } },
      providers: ['cuda', 'cpu'],
      placement: 'thread',
      instances: 2,
      fallback: 'bare',
      decode: () => 1 as const,
    }),
    churn: custom({ load: async () => new Scorer(), run: (scorer, rows: Customer[]) => scorer.score(rows) }),
    checkedChurn: custom({
      input: z.object({ age: z.coerce.number() }),
      load: () => 2,
      run: (factor, rows) => rows.map(({ age }) => scored(age * factor > 60 ? 'old' : 'young', 0.5)),
    }),
    bare: onnx({ source: './models/bare' }),
    tokens: custom({
      input: z.object({ prompt: z.string() }),
      load: () => 1,
      async *stream(step, { prompt }, { signal }) {
        for (let i = 0; i < prompt.length && !signal.aborted; i += step)
          yield await Promise.resolve({ at: i })
      },
    }),
    both: custom({
      load: () => null,
      run: (_, rows: string[]) => rows.map((row) => row.length),
      stream: (_, row) => row.split(' '),
    }),
  },
})

const sentiment = await serving.predict('sentiment', { text: 'hi' }, { timeoutMs: 50 })
expectTypeOf(sentiment.prediction).toEqualTypeOf<'negative' | 'positive'>()
expectTypeOf(sentiment.confidence).toEqualTypeOf<number>()
expectTypeOf(sentiment.scores.negative).toEqualTypeOf<number>()
expectTypeOf(sentiment.meta.version).toEqualTypeOf<string>()

const validated = await serving.predict('validated', { text: 'hi', limit: '3' })
expectTypeOf(validated.prediction).toEqualTypeOf<number>()

const typed = await serving.predict('typed', new Uint8Array())
expectTypeOf(typed.prediction).toEqualTypeOf<number>()

const embed = await serving.predict('embed', 'text')
expectTypeOf(embed.prediction).toEqualTypeOf<number[]>()

const bare = await serving.predict('bare', { x: [1] })
expectTypeOf(bare.prediction).toEqualTypeOf<unknown>()
expectTypeOf(bare.confidence).toEqualTypeOf<number | undefined>()

const churn = await serving.predict('churn', { id: '1', age: 3 }, { priority: 'high', whenFull: 'wait' })
expectTypeOf(churn.prediction).toEqualTypeOf<number>()

const checkedChurn = await serving.predict('checkedChurn', { age: '3' })
expectTypeOf(checkedChurn.prediction).toEqualTypeOf<'old' | 'young'>()
expectTypeOf(checkedChurn.confidence).toEqualTypeOf<number>()

for await (const one of serving.predictMany('churn', [{ id: '1', age: 3 }], { maxInFlight: 8 }))
  expectTypeOf(one.prediction).toEqualTypeOf<number>()

const tokens = serving.predictStream('tokens', { prompt: 'x' }, { timeoutMs: 50, whenFull: 'wait' })
for await (const item of tokens) expectTypeOf(item).toEqualTypeOf<{ at: number }>()
expectTypeOf(tokens.meta?.version).toEqualTypeOf<string | undefined>()
expectTypeOf((await serving.predict('tokens', { prompt: 'x' })).prediction).toEqualTypeOf<{ at: number }[]>()
for await (const item of serving.predictStream('both', 'x')) expectTypeOf(item).toEqualTypeOf<string>()
expectTypeOf((await serving.predict('both', 'x')).prediction).toEqualTypeOf<number>()
for await (const item of serving.model('both').predictStream('x')) expectTypeOf(item).toEqualTypeOf<string>()

const handle = serving.model('sentiment')
expectTypeOf((await handle.predict({ text: 'x' })).prediction).toEqualTypeOf<'negative' | 'positive'>()
expectTypeOf<Parameters<typeof handle.predict>[0]>().toEqualTypeOf<{ text: string }>()

// Nothing is registered: any name is accepted.
await defaultServing().predict('anything', { x: 1 })

const open = createServing('./models')
const anything = await open.predict('anything', { text: 'x' })
anything.prediction.toFixed()
for await (const item of open.predictStream('anything', { text: 'x' })) item.toFixed()

const mixed = createServing({
  repository: './models',
  models: { typed: onnx({ source: 'x', decode: () => 3 }) },
})
expectTypeOf((await mixed.predict('typed', {})).prediction).toEqualTypeOf<number>()
await mixed.predict('other', { x: 1 })

const loose: Record<string, AnyModel> = { a: onnx({ source: 'x' }) }
const byName: Serving<Record<string, AnyModel>> = createServing({ models: loose })
await byName.ready()

try {
  await serving.close()
} catch (error) {
  if (ServingError.is(error, 'QUEUE_FULL')) expectTypeOf(error.code).toEqualTypeOf<'QUEUE_FULL'>()
}

await serving.models.switchVersion('sentiment', '2.0')
expectTypeOf(serving.models.names()).toEqualTypeOf<
  (
    | 'sentiment'
    | 'validated'
    | 'typed'
    | 'embed'
    | 'cached'
    | 'churn'
    | 'checkedChurn'
    | 'bare'
    | 'tokens'
    | 'both'
  )[]
>()

// Every serving fits every door, whatever its models.
express().use('/ml', mlServing(serving, { maxBodyBytes: 1024 }))
express().use(mlServing({ repository: './models', maxBodyBytes: 1024 }))
express().use(
  mlServing(serving, {
    routes: ['predict', 'models'],
    errors: 'host',
    context: (req) => ({ requestId: String(req.headers['x-trace']), timeoutMs: 100 }),
  }),
)
express().use(mlServing(serving, { context: async (req: express.Request) => contextOf(req.ip) }))
await fastify().register(mlServingPlugin, { serving, prefix: '/ml' })
await fastify().register(mlServingPlugin, {
  serving,
  decorator: 'second',
  context: (request) => contextOf(request.ip),
})
await fastify().register(mlServingPlugin, { repository: './models', maxInstances: 10 })

// Pipelines: what is known of the models is known of what is made of them.
const stages = {
  detect: onnx({
    source: 'x',
    encode: (image: Uint8Array) => ({ x: float32(Float32Array.from(image)) }),
    decode: () => [1, 2],
  }),
  read: custom({
    load: () => null,
    run: (_, rows: number[][]) => rows.map(() => scored('text', 0.5)),
  }),
}
const pipelines = createServing({
  models: {
    ...stages,
    row: pipeline(['detect', { model: 'read', version: '1', timeoutMs: 50 }], { models: stages }),
    mapped: pipeline(['detect', { model: 'read', input: (boxes, image) => [boxes, image] }], {
      models: stages,
      input: z.instanceof(Uint8Array),
      maxInFlight: 8,
    }),
    named: pipeline<Uint8Array, string>(['detect', 'read'], { cache: true, fallback: 'row' }),
    bare: pipeline(['detect', 'read']),
    code: pipeline(
      async (image: Uint8Array, { predict, signal, requestId }) => {
        const { prediction: boxes } = await predict('detect', image, { timeoutMs: 5, signal, cache: false })
        expectTypeOf(boxes).toEqualTypeOf<number[]>()
        expectTypeOf(requestId).toEqualTypeOf<string>()
        const { prediction, confidence } = await predict('read', boxes)
        expectTypeOf(confidence).toEqualTypeOf<number>()
        return { prediction, count: boxes.length }
      },
      { models: stages, description: 'reads' },
    ),
    passed: pipeline((image: Uint8Array, { predict }) => predict('detect', image), { models: stages }),
    checked: pipeline(({ n }, { predict }) => predict('anything', n), {
      input: z.object({ n: z.coerce.number() }),
      unchecked: true,
      accepts: ['image/*'],
      cacheKey: ({ n }) => String(n),
    }),
    scored: pipeline(async (text: string, { predict }) => {
      const { prediction } = await predict('read', text)
      return scored(String(prediction), 1)
    }),
  },
})
const row = await pipelines.predict('row', new Uint8Array())
expectTypeOf(row.prediction).toEqualTypeOf<'text'>()
expectTypeOf(row.confidence).toEqualTypeOf<number>()
expectTypeOf(row.meta.stages?.[0]?.batchRows).toEqualTypeOf<number | undefined>()
expectTypeOf((await pipelines.predict('mapped', new Uint8Array())).prediction).toEqualTypeOf<'text'>()
expectTypeOf((await pipelines.predict('named', new Uint8Array())).prediction).toEqualTypeOf<string>()
;(await pipelines.predict('bare', { x: 1 })).prediction.toFixed()
expectTypeOf((await pipelines.predict('code', new Uint8Array())).prediction).toEqualTypeOf<{
  prediction: 'text'
  count: number
}>()
expectTypeOf((await pipelines.predict('passed', new Uint8Array())).prediction).toEqualTypeOf<number[]>()
;(await pipelines.predict('checked', { n: '3' })).prediction.toFixed()
expectTypeOf((await pipelines.predict('scored', 'x')).confidence).toEqualTypeOf<number>()
