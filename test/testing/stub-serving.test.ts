import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest'
import {
  createServing,
  custom,
  onnx,
  scored,
  ServingError,
  classify,
  strings,
  type Classification,
} from 'mlserving'
import { mlServing } from 'mlserving/express'
import { stubServing } from 'mlserving/testing'
import express from 'express'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

/** What a service would have; only its type is used. */
const realServing = () =>
  createServing({
    models: {
      sentiment: onnx({
        source: 'models/sentiment',
        encode: (input: { text: string }) => ({ text: strings([input.text]) }),
        decode: ({ probabilities }) => classify(probabilities, ['negative', 'positive']),
      }),
      churn: custom({ load: () => 1, run: (_, rows: { age: number }[]) => rows.map(({ age }) => age > 30) }),
    },
  })
type Real = ReturnType<typeof realServing>

function stubbed(stubs: Parameters<typeof stubServing<Real>>[0]) {
  const serving = stubServing<Real>(stubs)
  onTestFinished(() => serving.close())
  return serving
}

expectTypeOf(realServing).toBeFunction()

describe('a stub serving', () => {
  it('answers as the test says, typed as the real one', async () => {
    const serving = stubbed({
      sentiment: ({ text }) => scored(text.includes('love') ? 'positive' : 'negative', 0.9),
      churn: true,
    })
    const sentiment = await serving.predict('sentiment', { text: 'I love it' })
    expectTypeOf(sentiment.prediction).toEqualTypeOf<'negative' | 'positive'>()
    expect(sentiment).toMatchObject({ prediction: 'positive', confidence: 0.9, meta: { model: 'sentiment' } })
    expect((await serving.model('churn').predict({ age: 3 })).prediction).toBe(true)
    const many: unknown[] = []
    for await (const { prediction } of serving.predictMany('churn', [{ age: 1 }, { age: 2 }]))
      many.push(prediction)
    expect(many).toEqual([true, true])
  })

  it('fails as the test says', async () => {
    const serving = stubbed({ churn: new ServingError('QUEUE_FULL', 'busy') })
    await expect(serving.predict('churn', { age: 1 })).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await expect(serving.predict('sentiment', { text: '' })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
    })
  })

  it("takes a test runner's mock, which sees the inputs", async () => {
    const churn = vi.fn((_: { age: number }) => false)
    const serving = stubbed({ churn })
    await serving.predict('churn', { age: 7 })
    expect(churn.mock.calls).toEqual([[{ age: 7 }]])
  })

  it('stands behind a door like every serving', async () => {
    const serving = stubbed({ sentiment: scored('positive', 0.75) })
    await serving.ready()
    const server = express().use(mlServing(serving)).listen(0)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const response = await fetch(`http://127.0.0.1:${port}/models/sentiment/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ text: 'x' }),
    })
    expect(await response.json()).toMatchObject({
      prediction: 'positive',
      confidence: 0.75,
      model_version: '1',
    })
  })

  it('refuses stubs that do not fit, when it is compiled', () => {
    const never = (): void => {
      // @ts-expect-error -- no such model
      stubServing<Real>({ sentimnt: scored('positive', 1) })
      // @ts-expect-error -- not one of the classes
      stubServing<Real>({ sentiment: scored('neutral', 1) })
      // @ts-expect-error -- no such field in the input
      stubServing<Real>({ sentiment: ({ txt }) => scored('positive', txt) })
      const whole: Classification<'negative' | 'positive'> = classify(undefined, ['negative', 'positive'])
      stubServing<Real>({ sentiment: whole })
    }
    expect(never).toBeTypeOf('function')
  })
})
