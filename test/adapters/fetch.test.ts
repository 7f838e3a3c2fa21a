import { createServing, custom, ServingError } from 'mlserving'
import { mlServing } from 'mlserving/fetch'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { GET, POST } from '../../examples/app/route.js'
import { serving as exampleServing } from '../../examples/app/serving.js'
import { HandStream } from '../hand-stream.js'
import { quietLogger } from '../models/quiet-logger.js'

const serving = createServing({
  logger: quietLogger(),
  models: {
    double: custom({
      input: z.object({ of: z.number() }),
      load: () => 2,
      run: (factor, rows) => rows.map(({ of }) => factor * of),
    }),
    fails: custom({
      unchecked: true,
      load: () => {},
      run: () => Promise.reject(new Error('swordfish')),
    }),
  },
})
afterAll(() => serving.close())

function predict(url = 'http://a/models/double/predict', init: RequestInit = {}): Request {
  const headers = { 'content-type': 'application/json' }
  return new Request(url, { method: 'POST', headers, body: '{"of":21}', ...init })
}

test('a request is answered by a response', async () => {
  const response = await mlServing(serving)(predict())
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({ prediction: 42 })
})

test('the handler is an object with a fetch as well, as Bun and Deno take it', async () => {
  const { fetch, serving: behind } = mlServing(serving)
  expect((await fetch(predict())).status).toBe(200)
  expect(behind).toBe(serving)
})

test('the exports of a Next.js route answer below its prefix', async () => {
  await exampleServing.ready()
  const body = JSON.stringify({ text: 'I love it' })
  const answer = await POST(predict('http://a/ml/models/sentiment/predict', { body }))
  expect(await answer.json()).toMatchObject({ prediction: 'positive' })
  expect((await GET(new Request('http://a/ml/ready'))).status).toBe(200)
  await exampleServing.close()
})

describe('prefix', () => {
  test.each(['/api/ml', '/api/ml/'])('%s is taken off the path', async (prefix) => {
    const handler = mlServing(serving, { prefix })
    expect((await handler(predict('http://a/api/ml/models/double/predict'))).status).toBe(200)
    for (const path of [
      '/models/double/predict',
      '/api/mlx/models/double/predict',
      '/api/ml',
      '/x/api/ml/ready',
    ]) {
      expect((await handler(predict(`http://a${path}`))).status, path).toBe(404)
    }
  })

  test.each(['ml', '/ml?x', 5])('%j is refused', (prefix) => {
    expect(() => mlServing(serving, { prefix: prefix as string })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        message: expect.stringContaining('prefix must be a path that begins with a slash'),
      }),
    )
  })
})

describe('what is none of the routes', () => {
  test('is a 404 with problem details', async () => {
    const response = await mlServing(serving)(
      new Request('http://a/nowhere', { headers: { 'x-request-id': 'id-1' } }),
    )
    expect(response.status).toBe(404)
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
    expect(await response.json()).toMatchObject({
      code: 'ROUTE_NOT_FOUND',
      detail: 'there is no GET /nowhere.',
      request_id: 'id-1',
    })
  })

  test('is what notFound answers', async () => {
    const handler = mlServing(serving, { notFound: ({ url }) => new Response(`not ${url}`, { status: 410 }) })
    const response = await handler(new Request('http://a/nowhere'))
    expect([response.status, await response.text()]).toEqual([410, 'not http://a/nowhere'])
    expect((await handler(predict())).status).toBe(200)
  })
})

test('HEAD has the headers of GET, and no body', async () => {
  const response = await mlServing(serving)(new Request('http://a/models', { method: 'HEAD' }))
  expect(response.status).toBe(200)
  expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0)
  expect(response.body).toBeNull()
})

test("a body that the app has read is refused, and a clone's is taken", async () => {
  const request = predict()
  const clone = request.clone()
  await request.text()
  const handler = mlServing(serving)
  const refused = await handler(request)
  expect(refused.status).toBe(400)
  expect(await refused.json()).toMatchObject({
    code: 'INVALID_REQUEST',
    detail: "the app has read the request's body already: it must hand over a clone.",
  })
  expect((await handler(clone)).status).toBe(200)
})

test("the host's context may read a clone of the body", async () => {
  const context = async (request: Request) => {
    const { of } = (await request.clone().json()) as { of: number }
    return { requestId: `of-${of}` }
  }
  const response = await mlServing(serving, { context })(predict())
  expect(await response.json()).toMatchObject({ request_id: 'of-21', prediction: 42 })
})

test('a stream that the app drops is ended after maxStallMs', async () => {
  const hand = new HandStream()
  await using streams = createServing({
    logger: quietLogger(),
    models: { hand: custom({ unchecked: true, load: () => null, stream: hand.stream }) },
  })
  const answer = mlServing(streams, { maxStallMs: 20 })(predict('http://a/models/hand/stream'))
  await hand.give('first')
  expect((await answer).status).toBe(200)
  await hand.ended()
})

test("errors: 'host' rejects with the error", async () => {
  const handler = mlServing(serving, { errors: 'host' })
  const error: unknown = await handler(predict('http://a/models/fails/predict')).catch(
    (reason: unknown) => reason,
  )
  expect(ServingError.is(error, 'INFERENCE_FAILED')).toBe(true)
  await expect(handler(new Request('http://a/nowhere'))).rejects.toMatchObject({ code: 'ROUTE_NOT_FOUND' })
})

test.each(['problem', 'host'] as const)(
  'a request that is aborted is a 499 to nobody (errors: %j)',
  async (errors) => {
    const aborted = predict(undefined, { signal: AbortSignal.abort() })
    expect((await mlServing(serving, { errors })(aborted)).status).toBe(499)
  },
)

test('the serving of options is its own, and it closes it; one that it was given it leaves', async () => {
  const models = { m: custom({ unchecked: true, load: () => {}, run: (_, rows: unknown[]) => rows }) }
  const own = mlServing({ models, prefix: '/ml' })
  expect((await own(predict('http://a/ml/predict'))).status).toBe(200)
  await own.close()
  expect(own.serving.isClosed).toBe(true)
  await mlServing(serving).close()
  expect(serving.isClosed).toBe(false)
})
