import { once } from 'node:events'
import { createServing, onnx, ServingError } from 'mlserving'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyPrediction } from '../../src/prediction.js'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, Line, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { headerOf, hosts, type Mounting, ownNotFound } from './hosts.js'
import { asAny, Gate, startServing, withPredict } from './serving.js'

const folder = temporaryFolder()
const input = { x: [1, 2, 3] }
const identity = '/models/identity/predict'
const logger = quietLogger()
let serving: AnyServing

beforeAll(async () => {
  serving = await startServing(folder, logger)
})
afterAll(() => serving.close())

/** A serving whose predictions have this in their meta. */
function withMeta(meta: object | ((input: unknown) => object)): AnyServing {
  return withPredict(serving, async (_model, input) => {
    const given = typeof meta === 'function' ? meta(input) : meta
    return { prediction: 1, meta: { version: '1', ...given } }
  })
}

describe.each(hosts)('$name', ({ start }) => {
  describe('routes', () => {
    const paths = { health: '/health', models: '/models', metrics: '/metrics', predict: '/predict' }

    test.each(Object.keys(paths) as (keyof typeof paths)[])(
      '%s alone leaves the rest to the app',
      async (group) => {
        await using host = await start(serving, { routes: [group] })
        for (const [other, path] of Object.entries(paths)) {
          const answer =
            other === 'predict' ? await post(host.origin, path, input) : await ask(host.origin, path)
          if (other === group) expect(answer.text, path).not.toBe(ownNotFound)
          else expect(answer.text, path).toBe(ownNotFound)
        }
        const isModels = group === 'models'
        expect((await ask(host.origin, '/models/identity')).status).toBe(isModels ? 200 : 404)
        expect((await ask(host.origin, '/ready')).status).toBe(group === 'health' ? 200 : 404)
        expect((await post(host.origin, identity, input)).status).toBe(group === 'predict' ? 200 : 404)
      },
    )

    test('one serving is mounted twice, with other routes and options each', async () => {
      await using host = await start(serving, {
        routes: ['health', 'metrics'],
        also: [{ prefix: '/ml', routes: ['predict', 'models'], maxBodyBytes: 5 }],
      })
      expect((await ask(host.origin, '/health')).status).toBe(200)
      expect((await ask(host.origin, '/ml/health')).text).toBe(ownNotFound)
      expect((await post(host.origin, identity, input)).text).toBe(ownNotFound)
      expect((await post(host.origin, `/ml${identity}`, input)).status).toBe(413)
    })
  })

  test.each([
    [{ routes: ['everything'] }, 'routes must be a list of "health", "predict", "models", "metrics"'],
    [{ routes: [] }, 'routes must be a list of'],
    [{ routes: 'health' }, 'routes must be a list of'],
    [{ errors: 'throw' }, 'errors must be one of "problem", "host"; got "throw".'],
    [{ context: {} }, 'context must be a function'],
    [{ maxBodyDepth: 0 }, 'maxBodyDepth must be an integer from 1 to 10000; got 0.'],
    [{ maxBodyElements: -1 }, 'maxBodyElements must be an integer of at least 1'],
    [{ maxBodyDeepth: 3 }, 'Did you mean "maxBodyDepth"?'],
  ])('%j is refused at the start', async (options, message) => {
    await expect(start(serving, options as Mounting)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(message),
    })
  })

  describe("errors: 'host'", () => {
    test.each([
      ['an input that does not fit', identity, { x: [1] }, 400, 'INVALID_INPUT', 'Send 3 numbers a row.'],
      ['a body that is no JSON', identity, '{', 400, 'INVALID_REQUEST', 'the body is not JSON'],
      ['a model that is not there', '/models/none/predict', input, 404, 'MODEL_NOT_FOUND', 'no model "none"'],
      ['a failure of the server', '/models/indecent/predict', input, 500, 'INVALID_CODEC', 'swordfish'],
    ])("hands %s to the app's error handler", async (_, path, body, status, code, message) => {
      await using host = await start(serving, { errors: 'host' })
      const answer = await post(host.origin, path, body, { 'x-request-id': 'id-1' })
      expect(answer.status).toBe(status)
      expect(json(answer)).toEqual({ handler: 'own', code, message: expect.stringContaining(message) })
      expect(answer.headers['x-request-id']).toBe('id-1')
    })

    test('hands on what is refused before any route is asked', async () => {
      await using host = await start(serving, { errors: 'host' })
      const answer = await ask(host.origin, identity, { headers: { 'content-type': 'nonsense' }, body: '{}' })
      expect(answer.status).toBe(415)
      expect(json(answer)).toMatchObject({ handler: 'own', code: 'UNSUPPORTED_MEDIA_TYPE' })
    })

    test('hands on a ServingError, whatever was thrown', async () => {
      const failing = withPredict(serving, () => Promise.reject(new TypeError('swordfish')))
      await using host = await start(failing, { errors: 'host' })
      const answer = await post(host.origin, identity, input)
      expect(json(answer)).toEqual({ handler: 'own', code: 'INTERNAL', message: 'swordfish' })
    })

    test('leaves answers, and the errors of instances, as they are', async () => {
      await using host = await start(serving, { errors: 'host' })
      const answer = await post(host.origin, identity, { instances: [input, {}] })
      expect(json(answer)).toMatchObject({ predictions: [{}, { error: { code: 'INVALID_INPUT' } }] })
    })

    test('troubles no handler with a caller who hung up', async () => {
      const began = new Gate()
      const aborted = new Gate()
      const waiting = withPredict(serving, async (_model, _input, { signal } = {}) => {
        began.open()
        if (signal?.aborted === false) await once(signal, 'abort')
        aborted.open()
        throw new ServingError('ABORTED', 'gone')
      })
      await using host = await start(waiting, { errors: 'host' })
      using line = await Line.dial(host.origin)
      line.write(`POST ${identity} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}`)
      await began.opened
      line.hangUp()
      await aborted.opened
      expect((await ask(host.origin, '/health')).status).toBe(200)
    })
  })

  describe('context', () => {
    /** A serving whose predictions are the options that it was given. */
    const echo = () =>
      withPredict(serving, async (_model, _input, { version, timeoutMs, requestId } = {}) => {
        return { prediction: { version, timeoutMs, requestId }, meta: { version } } as AnyPrediction
      })

    test("is given the framework's own request, and wins over what the caller says", async () => {
      const context = async (request: unknown) => {
        return {
          version: headerOf(request, 'x-tenant') === 'new' ? '2' : '1',
          timeoutMs: 5000,
          requestId: 'from-the-host',
        }
      }
      await using host = await start(echo(), { context })
      for (const path of ['/models/versions/predict', '/models/versions/versions/9/predict']) {
        const headers = { 'x-tenant': 'new', 'x-request-id': 'from-the-caller' }
        const answer = await post(host.origin, path, { ...input, model_version: '7' }, headers)
        expect(json(answer)).toMatchObject({
          request_id: 'from-the-host',
          prediction: { version: '2', timeoutMs: 5000, requestId: 'from-the-host' },
        })
        expect(answer.headers['x-request-id']).toBe('from-the-host')
      }
      const instances = await post(host.origin, '/models/versions/predict', { instances: [input] })
      expect(json(instances)).toMatchObject({
        predictions: [{ prediction: { version: '1', timeoutMs: 5000 } }],
      })
    })

    test.each([undefined, {}, { version: undefined }])(
      'that says nothing (%j) changes nothing',
      async (said) => {
        await using host = await start(echo(), { context: () => said as object | undefined })
        const headers = { 'x-request-id': 'id-1' }
        const answer = await post(host.origin, identity, { ...input, model_version: '1' }, headers)
        expect(json(answer)).toMatchObject({
          request_id: 'id-1',
          prediction: { version: '1', requestId: 'id-1' },
        })
        expect(Object.keys(json(answer).prediction as object)).toEqual(['version', 'requestId'])
      },
    )

    test("hands what it throws to the app's error handler, and no body is read", async () => {
      for (const errors of ['problem', 'host'] as const) {
        const refusal = Object.assign(new Error('who are you?'), { status: 401, code: 'WHO' })
        const context = () => Promise.reject(refusal)
        await using host = await start(serving, { context, errors })
        const answer = await post(host.origin, identity, 'no JSON', { 'x-request-id': 'id-1' })
        expect(answer.status).toBe(401)
        expect(json(answer)).toEqual({ handler: 'own', code: 'WHO', message: 'who are you?' })
        expect(answer.headers['x-request-id']).toBe('id-1')
        // Probes are nobody's.
        expect((await ask(host.origin, '/health')).status).toBe(200)
      }
    })

    test.each([
      ['text', 'context(): the value must be an object'],
      [null, 'context(): the value must be an object'],
      [{ timeoutMs: 0 }, 'context(): timeoutMs must be an integer'],
      [{ versoin: '1' }, 'Did you mean "version"?'],
      [{ requestId: 'two\r\nlines' }, 'context(): requestId must be a string that matches'],
    ])('that says %j is a failure of the server', async (said, message) => {
      await using host = await start(serving, { context: () => said as object })
      const answer = await post(host.origin, identity, input)
      expect(answer.status).toBe(500)
      expect(json(answer)).toMatchObject({ code: 'INVALID_OPTIONS' })
      expect(logger.entries.map((entry) => entry.message)).toContainEqual(expect.stringContaining(message))
    })
  })

  describe('?scores', () => {
    const scored = () =>
      withPredict(serving, async () => {
        const scores = { yes: 0.75, no: 0.25 }
        return {
          prediction: 'yes',
          confidence: 0.75,
          scores,
          meta: { version: '1', latencyMs: 1 },
        } as unknown as AnyPrediction
      })

    test('true adds the scores of the classes', async () => {
      await using host = await start(scored(), { prefix: '/ml' })
      const answer = json(await post(host.origin, `/ml${identity}?a=b&scores=true`, input))
      expect(answer).toMatchObject({ prediction: 'yes', scores: { yes: 0.75, no: 0.25 } })
      expect(Object.keys(answer)).toEqual([
        'request_id',
        'prediction',
        'confidence',
        'scores',
        'model_version',
        'latency_ms',
      ])
      const many = await post(host.origin, `/ml${identity}?scores=true`, { instances: [input] })
      expect(json(many)).toMatchObject({ predictions: [{ scores: { yes: 0.75, no: 0.25 } }] })
    })

    test.each(['', '?', '?scores=false', '?other=true'])('%j leaves them out', async (query) => {
      await using host = await start(scored())
      expect(json(await post(host.origin, `${identity}${query}`, input))).not.toHaveProperty('scores')
    })

    test('true adds none where the model has none', async () => {
      await using host = await start(serving)
      const answer = await post(host.origin, `${identity}?scores=true`, input)
      expect(json(answer)).not.toHaveProperty('scores')
    })

    test('of another value is refused', async () => {
      await using host = await start(serving)
      const answer = await post(host.origin, `${identity}?scores=yes`, input)
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({ detail: '?scores must be true or false; got "yes".' })
    })
  })

  describe('headers', () => {
    test('say of an answer that it is not fresh, or of another model', async () => {
      await using host = await start(withMeta({ degraded: 'fallback:other-model' }))
      const answer = await post(host.origin, identity, input)
      expect(answer.headers['x-mlserving-degraded']).toBe('fallback:other-model')
      await using mixed = await start(
        withMeta((input) => {
          const { x } = input as { x: number }
          return x === 0 ? {} : { degraded: x === 1 ? 'stale' : 'fallback:other' }
        }),
      )
      const instances = [0, 1, 2, 1].map((x) => ({ x }))
      const many = await post(mixed.origin, identity, { instances })
      expect(many.headers['x-mlserving-degraded']).toBe('stale, fallback:other')
    })

    test('say nothing of it where it is', async () => {
      await using host = await start(serving)
      const answer = await post(host.origin, identity, input)
      expect(answer.headers).not.toHaveProperty('x-mlserving-degraded')
    })

    test('give every answer its length, and keep it out of caches', async () => {
      await using host = await start(serving)
      for (const answer of [
        await post(host.origin, identity, input),
        await post(host.origin, identity, '{'),
        await post(host.origin, '/models/none/predict', input),
        await ask(host.origin, identity, { headers: { 'content-type': 'nonsense' }, body: '{}' }),
        ...(await Promise.all(
          ['/health', '/ready', '/models', '/metrics'].map((path) => ask(host.origin, path)),
        )),
      ]) {
        expect(answer.headers['content-length']).toBe(`${Buffer.byteLength(answer.text)}`)
        expect(answer.headers['cache-control']).toBe('no-store')
        expect(answer.headers['x-request-id']).toMatch(/^[\w-]{36}$/)
      }
    })

    test('say when to come again where a model can not serve yet', async () => {
      const source = join(folder, 'nowhere')
      const broken = asAny(
        createServing({ logger: quietLogger(), models: { broken: onnx({ source, placement: 'inline' }) } }),
      )
      await broken.ready().catch(() => {})
      await using host = await start(broken)
      const answer = await post(host.origin, '/models/broken/predict', input)
      await broken.close()
      expect(answer.status).toBe(503)
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    })
  })
})
