import { createServing, onnx, ServingError, errorTable, type ErrorCode } from 'mlserving'
import { STATUS_CODES } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hasDots, hosts, type RunningHost } from './hosts.js'
import { asAny, longName, startServing, withPredict } from './serving.js'

const folder = temporaryFolder()
const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/
const logger = quietLogger()
let serving: AnyServing

beforeAll(async () => {
  serving = await startServing(folder, logger)
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start, resolvesDots = false }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(() => host[Symbol.asyncDispose]())

  describe('one prediction', () => {
    test('answers with exactly the five fields of the contract', async () => {
      const answer = await post(host.origin, '/models/sure/predict', { x: [1, 2, 3] })
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
      expect(Object.keys(json(answer))).toEqual([
        'request_id',
        'prediction',
        'confidence',
        'model_version',
        'latency_ms',
      ])
      expect(json(answer)).toEqual({
        request_id: expect.stringMatching(uuid),
        prediction: 'yes',
        confidence: 0.75,
        model_version: '1',
        latency_ms: expect.any(Number),
      })
      expect(json(answer).latency_ms).toBeGreaterThan(0)
    })

    test('has no confidence where the model gives none', async () => {
      const answer = await post(host.origin, '/models/identity/predict', { x: [1, 2, 3] })
      expect(json(answer)).toEqual({
        request_id: expect.stringMatching(uuid),
        prediction: [1, 2, 3],
        model_version: '1',
        latency_ms: expect.any(Number),
      })
    })

    test('answers fetch', async () => {
      const response = await fetch(`${host.origin}/models/identity/predict`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ x: [0.5, 1.5, -2.5] }),
      })
      expect(await response.json()).toMatchObject({ prediction: [0.5, 1.5, -2.5] })
    })

    test('takes the input beside model_version, or below "input"', async () => {
      for (const body of [
        { x: [1, 2, 3], model_version: '1' },
        { input: { x: [1, 2, 3] } },
        { input: { x: [1, 2, 3] }, model_version: 'latest' },
      ]) {
        expect(json(await post(host.origin, '/models/identity/predict', body))).toMatchObject({
          prediction: [1, 2, 3],
        })
      }
    })

    test('takes an input that is named like a field of the body below "input"', async () => {
      const answer = await post(host.origin, '/models/collides/predict', { input: { instances: [1, 2, 3] } })
      expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
    })

    test('answers a batch of rows with as many', async () => {
      const body = {
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      }
      expect(json(await post(host.origin, '/models/identity/predict', body))).toMatchObject({
        prediction: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      })
    })

    test('gives integers beyond 2^53 as strings, so that none loses a digit', async () => {
      const answer = await post(host.origin, '/models/add/predict', { x: [Number.MAX_SAFE_INTEGER, 2, -3] })
      expect(json(answer)).toMatchObject({ prediction: ['9007199254740992', 4, 0] })
    })

    test('serves a model of the longest name there can be', async () => {
      const answer = await post(host.origin, `/models/${longName}/predict`, { x: [1, 2, 3] })
      expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
    })
  })

  describe('versions', () => {
    test('the current one answers, unless one is named in the body or in the path', async () => {
      for (const [path, body] of [
        ['/models/versions/predict', { x: [1, 1, 1] }],
        ['/models/versions/predict', { x: [1, 1, 1], model_version: 'latest' }],
        ['/models/versions/predict', { x: [1, 1, 1], model_version: null }],
        ['/models/versions/predict', { x: [1, 1, 1], model_version: '2' }],
        ['/models/versions/versions/2/predict', { x: [1, 1, 1] }],
        ['/models/versions/versions/latest/predict', { x: [1, 1, 1] }],
        ['/models/versions/versions/2/predict', { x: [1, 1, 1], model_version: '1' }],
      ] as const) {
        const answer = await post(host.origin, path, body)
        expect(json(answer), path).toMatchObject({ prediction: [2, 3, 4], model_version: '2' })
      }
    })

    test.each([
      ['/models/versions/versions/1/predict', 'versions@1 is not loaded. Serving: 2.'],
      ['/models/versions/versions/7/predict', 'model "versions" has no version "7". Known: 2, 1.'],
      ['/models/versions/versions/..%2F1/predict', 'model "versions" has no version "../1". Known: 2, 1.'],
    ])('%s is not found', async (path, detail) => {
      const answer = await post(host.origin, path, { x: [1, 1, 1] })
      expect(answer.status).toBe(404)
      expect(json(answer)).toMatchObject({ code: 'VERSION_NOT_FOUND', detail })
    })

    test.each([1, false, ['1'], {}])('a model_version of %j is refused', async (version) => {
      const answer = await post(host.origin, '/models/identity/predict', {
        x: [1, 2, 3],
        model_version: version,
      })
      expect(answer.status).toBe(400)
      expect(json(answer).code).toBe('INVALID_REQUEST')
    })
  })

  describe('POST /predict', () => {
    test('asks for a model where there are several, and names them', async () => {
      const answer = await post(host.origin, '/predict', { x: [1, 2, 3] })
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({
        code: 'MODEL_REQUIRED',
        detail: expect.stringMatching(
          /POST \/models\/<model>\/predict\. The models are add, broken, .*versions\.$/,
        ),
      })
    })

    test('is for the only model', async () => {
      const source = join(folder, 'identity')
      await using only = asAny(createServing({ models: { one: onnx({ source, placement: 'inline' }) } }))
      await only.ready()
      await using ownHost = await start(only)
      const answer = await post(ownHost.origin, '/predict', { x: [1, 2, 3] })
      expect(json(answer)).toMatchObject({ prediction: [1, 2, 3], model_version: '1' })
    })

    test('is for the default model where one is set', async () => {
      const two = onnx({ source: join(folder, 'identity'), placement: 'inline' })
      const three = onnx({ source: join(folder, 'add'), placement: 'inline' })
      await using several = asAny(createServing({ models: { two, three }, defaultModel: 'three' }))
      await several.ready()
      await using ownHost = await start(several)
      const answer = await post(ownHost.origin, '/predict', { x: [1, 1, 1] })
      expect(json(answer)).toMatchObject({ prediction: [2, 3, 4] })
    })

    test('says so where no model is served', async () => {
      await using none = asAny(createServing({ models: {} }))
      await none.ready()
      await using ownHost = await start(none)
      const answer = await post(ownHost.origin, '/predict', { x: [1, 2, 3] })
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({
        code: 'MODEL_REQUIRED',
        detail: expect.stringContaining('No model is served.'),
      })
    })
  })

  describe('instances', () => {
    test('that the model fails on are answered each for itself, without what the log alone may tell', async () => {
      const answer = await post(host.origin, '/models/broken/predict', {
        instances: [{ x: [1, 2, 3] }, { x: [1] }],
      })
      expect(answer.status).toBe(200)
      const [failed, wrong] = (json(answer) as { predictions: unknown[] }).predictions
      expect(failed).toMatchObject({
        error: { code: 'INFERENCE_FAILED', detail: expect.not.stringContaining('Reshape') },
      })
      expect(wrong).toMatchObject({ error: { code: 'INVALID_INPUT' } })
    })

    test('are answered one by one, each with its own prediction or error', async () => {
      const answer = await post(host.origin, '/models/sure/predict', {
        instances: [{ x: [1, 2, 3] }, { x: [1, 2] }, 5, { x: [4, 5, 6] }],
      })
      expect(answer.status).toBe(200)
      const yes = { prediction: 'yes', confidence: 0.75, model_version: '1' }
      expect(json(answer)).toEqual({
        request_id: expect.stringMatching(uuid),
        predictions: [
          yes,
          {
            error: { code: 'INVALID_INPUT', detail: expect.stringContaining('float32 [batch, 3]; got [2]') },
          },
          { error: { code: 'INVALID_INPUT', detail: expect.stringContaining('got 5') } },
          yes,
        ],
        latency_ms: expect.any(Number),
      })
    })

    test('keep their order, have a version together, and may be many', async () => {
      const warnings: Error[] = []
      const onWarning = (warning: Error) => warnings.push(warning)
      process.on('warning', onWarning)
      onTestFinished(() => void process.off('warning', onWarning))
      const instances = Array.from({ length: 1000 }, (_, i) => ({ x: [i, i, i] }))
      const answer = await post(host.origin, '/models/identity/predict', { instances, model_version: '1' })
      expect(json(answer).predictions).toEqual(
        instances.map(({ x }) => ({ prediction: x, model_version: '1' })),
      )
      expect(warnings).toEqual([])
    })

    test.each([
      ['no list', { instances: { x: [1, 2, 3] } }, 'got an object'],
      ['none', { instances: [] }, 'got 0'],
      ['too many', { instances: Array.from({ length: 1001 }, () => 1) }, '1 to 1000 inputs; got 1001'],
      ['a further field', { instances: [{ x: [1, 2, 3] }], x: [1, 2, 3] }, 'there can be no "x"'],
    ])('are refused: %s', async (_, body, detail) => {
      const answer = await post(host.origin, '/models/identity/predict', body)
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({ code: 'INVALID_REQUEST', detail: expect.stringContaining(detail) })
    })

    test('are at most as many as the door allows', async () => {
      await using strict = await start(serving, { maxInstances: 2 })
      const instance = { x: [1, 2, 3] }
      const path = '/models/identity/predict'
      expect((await post(strict.origin, path, { instances: [instance, instance] })).status).toBe(200)
      expect((await post(strict.origin, path, { instances: [instance, instance, instance] })).status).toBe(
        400,
      )
    })

    test.each([
      ['/models/none/predict', 404, 'MODEL_NOT_FOUND'],
      ['/models/identity/versions/9/predict', 404, 'VERSION_NOT_FOUND'],
      ['/models/indecent/predict', 500, 'INVALID_CODEC'],
    ])('%s can answer none of them, and says so once', async (path, status, code) => {
      const answer = await post(host.origin, path, { instances: [{ x: [1, 2, 3] }, { x: [1, 2, 3] }] })
      expect(answer.status).toBe(status)
      expect(json(answer)).toMatchObject({ status, code })
    })
  })

  describe('errors', () => {
    test.each(Object.keys(errorTable) as ErrorCode[])(
      '%s is a problem with its status and code',
      async (code) => {
        const { status } = errorTable[code]
        const message = `what ${code} says`
        const failing = withPredict(serving, () =>
          Promise.reject(new ServingError(code, message, { headers: { 'retry-after': '7' } })),
        )
        await using ownHost = await start(failing)
        const answer = await post(ownHost.origin, '/models/any/predict', { x: 1 }, { 'x-request-id': 'id-1' })

        expect(answer.status).toBe(status)
        expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
        expect(answer.headers['retry-after']).toBe('7')
        expect(json(answer)).toEqual({
          type: 'about:blank',
          title: STATUS_CODES[status] ?? code,
          status,
          code,
          detail:
            status === 500 ? 'The server failed; its log has the details under this request_id.' : message,
          request_id: 'id-1',
        })
      },
    )

    test('what is no error of ours is INTERNAL, and keeps its text to the log', async () => {
      await using ownHost = await start(
        withPredict(serving, () => Promise.reject(new TypeError('swordfish is not a function'))),
      )
      const answer = await post(ownHost.origin, '/models/any/predict', {})
      expect(answer.status).toBe(500)
      expect(json(answer).code).toBe('INTERNAL')
      expect(answer.text).not.toContain('swordfish')
      expect(logger.entries).toContainEqual({ level: 'error', message: 'swordfish is not a function' })
    })

    test.each([
      ['/models/none/predict', 404, 'MODEL_NOT_FOUND'],
      ['/models/../predict', 404, 'MODEL_NOT_FOUND'],
      ['/models//predict', 404, 'MODEL_NOT_FOUND'],
      [`/models/${'n'.repeat(500)}/predict`, 404, 'MODEL_NOT_FOUND'],
      ['/models/broken/predict', 500, 'INFERENCE_FAILED'],
      ['/models/indecent/predict', 500, 'INVALID_CODEC'],
    ])('%s is a %i %s', async (path, status, code) => {
      if (resolvesDots && hasDots(path)) return
      const answer = await post(host.origin, path, { x: [1, 2, 3] })
      expect(answer.status).toBe(status)
      expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
      expect(json(answer)).toMatchObject({ status, code })
      expect(answer.text).not.toContain('swordfish')
      expect(answer.text.length).toBeLessThan(500)
    })

    test.each([
      ['no input', {}, 'input "x" is missing; it expects float32 [batch, 3].'],
      ['too short', { x: [1, 2] }, 'input "x" expects float32 [batch, 3]; got [2]. Send 3 numbers a row.'],
      [
        'ragged',
        {
          x: [
            [1, 2, 3],
            [4, 5],
          ],
        },
        'the list at [1] must have 3 entries like its neighbours; got 2.',
      ],
      ['text', { x: ['1', '2', '3'] }, 'the value at [0] must be a number; got "1".'],
      ['null', { x: [1, null, 3] }, 'the value at [1] must be a number; got null.'],
      ['an empty batch', { x: [] }, 'input "x"'],
      ['an unknown input', { x: [1, 2, 3], y: 1 }, 'there is no input "y".'],
      ['a misspelt field', { x: [1, 2, 3], model_verison: '1' }, 'there is no input "model_verison".'],
    ])('the input is refused with what to send: %s', async (_, body, detail) => {
      const answer = await post(host.origin, '/models/identity/predict', body)
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({ code: 'INVALID_INPUT', detail: expect.stringContaining(detail) })
    })

    test("the input is refused by the model's schema, with the place", async () => {
      const answer = await post(host.origin, '/models/checked/predict', { x: [1, 2, 30] })
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({
        code: 'INVALID_INPUT',
        detail: expect.stringMatching(/checked@1: x\.2: /),
      })
    })
  })

  describe('x-request-id', () => {
    test.each(['a', 'A-b_c.9', 'x'.repeat(128), '0af7651916cd43dd8448eb211c80319c'])(
      '%s comes back',
      async (id) => {
        for (const [path, status] of [
          ['/models/identity/predict', 200],
          ['/models/none/predict', 404],
        ] as const) {
          const answer = await post(host.origin, path, { x: [1, 2, 3] }, { 'x-request-id': id })
          expect(answer.status).toBe(status)
          expect(answer.headers['x-request-id']).toBe(id)
          expect(json(answer).request_id).toBe(id)
        }
      },
    )

    test.each(['', 'x'.repeat(129), 'two words', 'a,b', '<script>', '{"a":1}', '..\\..', 'caf\xe9'])(
      '%j is replaced by one that is safe to log',
      async (id) => {
        const answer = await post(
          host.origin,
          '/models/identity/predict',
          { x: [1, 2, 3] },
          { 'x-request-id': id },
        )
        expect(answer.headers['x-request-id']).toMatch(uuid)
        expect(json(answer).request_id).toBe(answer.headers['x-request-id'])
      },
    )

    test('two of them are none', async () => {
      const headers = { 'x-request-id': ['one', 'two'] }
      const answer = await post(host.origin, '/models/identity/predict', { x: [1, 2, 3] }, headers)
      expect(answer.headers['x-request-id']).toMatch(uuid)
    })
  })
})
