// Compiled by `npm run types`, never run: every statement here must be an error.
import { createServing, custom, onnx, pipeline } from 'mlserving'
import { mlServing } from 'mlserving/express'
import { serving } from './use.js'

// @ts-expect-error -- no such model
await serving.predict('sentimnt', { text: 'x' })
// @ts-expect-error -- no such field
await serving.predict('sentiment', { txt: 'x' })
// @ts-expect-error -- a number where text belongs
await serving.predict('sentiment', { text: 3 })
// @ts-expect-error -- no such option
await serving.predict('sentiment', { text: 'x' }, { timeout: 3 })

const answer = await serving.predict('sentiment', { text: 'x' })
// @ts-expect-error -- no such property
console.log(answer.predicton)
// @ts-expect-error -- not one of the classes
if (answer.prediction === 'neutral') console.log()
const typed = await serving.predict('typed', new Uint8Array())
// @ts-expect-error -- decode gave no confidence
console.log(typed.confidence)

// @ts-expect-error -- no such option
createServing({ models: { a: onnx({ sorce: 'x' }) } })
// @ts-expect-error -- no such option
createServing({ models: { a: onnx({ source: 'x', placment: 'inline' }) } })
// @ts-expect-error -- no such placement
createServing({ models: { a: onnx({ source: 'x', placement: 'gpu' }) } })
// @ts-expect-error -- encode must give tensors
createServing({ models: { a: onnx({ source: 'x', encode: (input: { t: string }) => ({ t: input.t }) }) } })
// @ts-expect-error -- decode takes an output that was not named
createServing({ models: { a: onnx({ source: 'x', outputs: { y: 'float32' }, decode: ({ z }) => z }) } })
// @ts-expect-error -- no such dtype
createServing({ models: { a: onnx({ source: 'x', outputs: { y: 'float' }, decode: ({ y }) => y }) } })
// @ts-expect-error -- a model is made by onnx()
createServing({ models: { a: './x' } })
// @ts-expect-error -- no such option
createServing({ modls: {} })
// @ts-expect-error -- no such group of routes
mlServing(serving, { routes: ['everything'] })
// @ts-expect-error -- not the host's to say
mlServing(serving, { context: () => ({ cache: false }) })
// @ts-expect-error -- no such model
await serving.models.switchVersion('nope', '1')
// @ts-expect-error -- a task needs its output
createServing({ models: { a: onnx({ source: 'x', task: { type: 'classification' } }) } })
// @ts-expect-error -- no such option of the cache's owner
createServing({ models: { a: onnx({ source: 'x', cach: { ttlMs: 3 } }) } })
// @ts-expect-error -- a number of rows
createServing({ models: { a: onnx({ source: 'x', batching: { maxBatchSize: '3' } }) } })
// @ts-expect-error -- run gives an answer a row
createServing({ models: { c: custom({ load: () => 1, run: (n, _rows: string[]) => n }) } })
// @ts-expect-error -- a row of another type
await serving.predict('churn', { id: 1, age: 3 })
// @ts-expect-error -- a row of another type
serving.predictMany('churn', ['x'])
// @ts-expect-error -- no such model
serving.predictStream('token', { prompt: 'x' })
// @ts-expect-error -- a model without a stream
serving.predictStream('churn', { id: '1', age: 3 })
// @ts-expect-error -- nor has its handle
serving.model('churn').predictStream({ id: '1', age: 3 })
// @ts-expect-error -- an input of another type
serving.predictStream('tokens', 'x')
// @ts-expect-error -- a stream is not cached
serving.predictStream('tokens', { prompt: 'x' }, { cache: false })
// @ts-expect-error -- neither run nor stream
custom({ load: () => 1 })
// @ts-expect-error -- stream gives something to iterate
custom({ load: () => 1, stream: () => 5 })
// @ts-expect-error -- no such model
serving.model('chrun')
// @ts-expect-error -- no such priority
await serving.predict('sentiment', { text: 'x' }, { priority: 1 })

const models = {
  length: custom({ load: () => 1, run: (n, rows: string[]) => rows.map((row) => row.length * n) }),
}
// @ts-expect-error -- no such model
pipeline(['lenght'], { models })
// @ts-expect-error -- no such model
pipeline((text: string, { predict }) => predict('lenght', text), { models })
// @ts-expect-error -- an input of another type
pipeline((text: number, { predict }) => predict('length', text), { models })
// @ts-expect-error -- no such option of a stage's prediction
pipeline((text: string, { predict }) => predict('length', text, { priority: 'high' }), { models })
// @ts-expect-error -- no such option of a stage
pipeline([{ model: 'length', timeout: 3 }])
// @ts-expect-error -- a pipeline is not batched, its stages are
pipeline(['length'], { batching: true })
const chained = createServing({ models: { ...models, p: pipeline(['length'], { models }) } })
// @ts-expect-error -- an input of another type
await chained.predict('p', 3)
