// Compiled by `npm run types`, never run: what users of the client and of remote models write, and what is inferred.
import { classify, createServing, strings } from 'mlserving'
import { float32, InferenceClient, type InferOutput, type Tensor } from 'mlserving/client'
import { remote } from 'mlserving/remote'
import { expectTypeOf } from 'vitest'
import { z } from 'zod'

const client = new InferenceClient({ url: 'http://a', headers: { authorization: 'b' } })
const inputs = { x: { ...float32([1]), parameters: { content_type: 'np' } } }

const typed = await client.infer('m', { inputs, outputs: { y: 'float32', n: 'int64', t: 'string' } })
expectTypeOf(typed.outputs.y.data).toEqualTypeOf<Float32Array>()
expectTypeOf(typed.outputs.n.data).toEqualTypeOf<BigInt64Array>()
expectTypeOf(typed.outputs.t.data).toEqualTypeOf<string[]>()

const named = await client.infer('m', {
  inputs,
  outputs: ['y', { name: 'z', parameters: { classification: 3 } }],
})
expectTypeOf(named.outputs.y).toEqualTypeOf<InferOutput>()
expectTypeOf(named.outputs.z.dtype).toEqualTypeOf<Tensor['dtype']>()

const all = await client.infer('m', { inputs, version: '1', id: 'a', parameters: { priority: 1 } })
expectTypeOf(all.outputs.y).toEqualTypeOf<InferOutput | undefined>()

// @ts-expect-error -- not one of those that were asked for
console.log(named.outputs.w)
// @ts-expect-error -- no such dtype
await client.infer('m', { inputs, outputs: { y: 'float' } })
// @ts-expect-error -- a list is no tensor
await client.infer('m', { inputs: { x: [1, 2] } })
// @ts-expect-error -- no such option
new InferenceClient({ url: 'http://a', timeout: 3 })

const serving = createServing({
  models: {
    plain: remote({ url: 'http://a', model: 'm' }),
    mood: remote({
      urls: ['grpc://a:8001', 'grpc://b:8001'],
      model: 'mood',
      protocol: 'grpc',
      outputs: { p: 'float32' },
      input: z.object({ text: z.string() }),
      encode: ({ text }) => ({ text: strings([text]) }),
      decode: ({ p }) => classify(p, ['negative', 'positive']),
      circuit: { failures: 3 },
      fallback: 'plain',
    }),
  },
})
const mood = await serving.predict('mood', { text: 'x' })
expectTypeOf(mood.prediction).toEqualTypeOf<'negative' | 'positive'>()
expectTypeOf(mood.confidence).toEqualTypeOf<number>()
// @ts-expect-error -- no such field
await serving.predict('mood', { txt: 'x' })
// @ts-expect-error -- a remote model has no source
remote({ url: 'http://a', model: 'm', source: './m' })
// @ts-expect-error -- where it is must be said by its model's name
remote({ url: 'http://a' })
