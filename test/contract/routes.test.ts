import { createServing, onnx } from 'mlserving'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hasDots, hosts, ownAnswer, ownNotFound, type RunningHost } from './hosts.js'
import { asAny, Gate, longName, startServing } from './serving.js'

const folder = temporaryFolder()
const logger = quietLogger()
let serving: AnyServing

beforeAll(async () => {
  serving = await startServing(folder, logger)
})
afterAll(async () => {
  await serving.close()
  expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
})

describe.each(hosts)('$name', ({ start, resolvesDots = false }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(() => host[Symbol.asyncDispose]())

  describe('GET /health', () => {
    test('is healthy, with the time in seconds', async () => {
      const before = Date.now() / 1000
      const answer = await ask(host.origin, '/health')
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
      expect(json(answer)).toEqual({ status: 'healthy', timestamp: expect.any(Number) })
      expect(json(answer).timestamp).toBeGreaterThanOrEqual(before)
      expect(json(answer).timestamp).toBeLessThanOrEqual(Date.now() / 1000)
    })

    test('answers fetch', async () => {
      const response = await fetch(`${host.origin}/health`)
      expect(response.status).toBe(200)
      expect(await response.json()).toMatchObject({ status: 'healthy' })
    })
  })

  describe('GET /ready', () => {
    test('is ready once every model serves', async () => {
      const answer = await ask(host.origin, '/ready')
      expect(answer.status).toBe(200)
      expect(json(answer)).toEqual({ status: 'ready', timestamp: expect.any(Number) })
    })

    test('is not ready while a model loads, and ready after', async () => {
      const gate = new Gate()
      const source = join(folder, 'identity')
      const loading = createServing({
        models: { slow: onnx({ source, placement: 'inline', codec: () => gate.opened.then(() => ({})) }) },
      })
      await using ownHost = await start(asAny(loading))
      const before = await ask(ownHost.origin, '/ready')
      gate.open()
      await loading.ready()
      const after = await ask(ownHost.origin, '/ready')
      await loading.close()

      expect(before.status).toBe(503)
      expect(json(before)).toEqual({
        status: 'not_ready',
        timestamp: expect.any(Number),
        problems: [expect.any(String)],
      })
      expect(after.status).toBe(200)
    })

    test('is not ready while a model is broken, says which, and is ready once it was replaced', async () => {
      const source = temporaryRepository({ '1/model.onnx': 'no model at all' })
      const broken = createServing({
        models: { healed: onnx({ source, placement: 'inline' }) },
        logger: quietLogger(),
      })
      await expect(broken.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
      await using ownHost = await start(asAny(broken))
      const before = await ask(ownHost.origin, '/ready')
      const health = await ask(ownHost.origin, '/health')
      const refused = await post(ownHost.origin, '/models/healed/predict', { x: [1, 2, 3] })
      writeInto(source, '2/model.onnx', identityModel())
      await broken.models.load('healed', '2')
      const after = await ask(ownHost.origin, '/ready')
      await broken.close()

      expect(before.status).toBe(503)
      expect(json(before).problems).toEqual([expect.stringContaining('"healed"')])
      expect(health.status).toBe(200)
      expect(refused.status).toBe(503)
      expect(json(refused)).toMatchObject({
        code: 'MODEL_NOT_READY',
        detail: expect.stringContaining('"healed"'),
      })
      expect(after.status).toBe(200)
    })

    test('is not ready once the serving closed, while the process stays healthy', async () => {
      const closed = createServing({
        models: { identity: onnx({ source: join(folder, 'identity'), placement: 'inline' }) },
      })
      await closed.ready()
      await using ownHost = await start(asAny(closed))
      await closed.close()
      expect((await ask(ownHost.origin, '/ready')).status).toBe(503)
      expect((await ask(ownHost.origin, '/health')).status).toBe(200)
      const refused = await post(ownHost.origin, '/models/identity/predict', { x: [1, 2, 3] })
      expect(refused.status).toBe(503)
      expect(json(refused)).toMatchObject({ code: 'CLOSED' })
    })
  })

  describe('GET /models', () => {
    test('lists every model by name, with its versions and what it takes and gives', async () => {
      const answer = await ask(host.origin, '/models')
      expect(answer.status).toBe(200)
      const { models } = json(answer) as { models: { name: string }[] }
      expect(models.map(({ name }) => name)).toEqual(
        ['add', 'broken', 'checked', 'collides', 'identity', 'indecent', longName, 'sure', 'versions'].sort(),
      )
      expect(models.find(({ name }) => name === 'versions')).toEqual({
        name: 'versions',
        current: '2',
        versions: [
          expect.objectContaining({
            version: '2',
            state: 'ready',
            loadTimeMs: expect.any(Number),
            placement: expect.stringMatching(/^(thread|inline)$/),
            instances: expect.any(Number),
            intraOpThreads: expect.any(Number),
            providers: ['cpu'],
            sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
            batching: {
              safe: expect.any(Boolean),
              by: expect.stringMatching(/proven$/),
              reason: expect.any(String),
            },
          }),
          { version: '1', state: 'registered' },
        ],
        inputs: [{ name: 'x', dtype: 'int64', shape: ['batch', 3] }],
        outputs: [{ name: 'y', dtype: 'int64', shape: ['batch', 3] }],
      })
    })

    test('gives one model by its name', async () => {
      const answer = await ask(host.origin, '/models/identity')
      expect(answer.status).toBe(200)
      expect(json(answer)).toEqual({
        name: 'identity',
        current: '1',
        versions: [
          expect.objectContaining({
            version: '1',
            state: 'ready',
            loadTimeMs: expect.any(Number),
            placement: expect.stringMatching(/^(thread|inline)$/),
            instances: expect.any(Number),
            intraOpThreads: expect.any(Number),
            providers: ['cpu'],
            sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
            batching: {
              safe: expect.any(Boolean),
              by: expect.stringMatching(/proven$/),
              reason: expect.any(String),
            },
          }),
        ],
        inputs: [{ name: 'x', dtype: 'float32', shape: ['batch', 3] }],
        outputs: [{ name: 'y', dtype: 'float32', shape: ['batch', 3] }],
      })
    })

    test.each([
      ['identiti', 'no model "identiti". Did you mean "identity"?'],
      ['..', 'no model "..". The models are'],
      ['..%2F..%2Fetc', 'no model "../../etc". The models are'],
      ['%00', String.raw`no model "\u0000". The models are`],
      ['__proto__', 'no model "__proto__". The models are'],
      ['caf%C3%A9', 'no model "café". The models are'],
      ['a%25b', 'no model "a%b"'],
    ])('does not find a model %s', async (name, detail) => {
      if (resolvesDots && hasDots(name)) return
      const answer = await ask(host.origin, `/models/${name}`)
      expect(answer.status).toBe(404)
      expect(json(answer)).toMatchObject({ code: 'MODEL_NOT_FOUND', detail: expect.stringContaining(detail) })
    })

    test('finds a model of the longest name there can be, and does not echo a longer one', async () => {
      expect(json(await ask(host.origin, `/models/${longName}`))).toMatchObject({ name: longName })
      const answer = await ask(host.origin, `/models/${'n'.repeat(500)}`)
      expect(answer.status).toBe(404)
      expect(json(answer)).toMatchObject({
        code: 'MODEL_NOT_FOUND',
        detail: expect.not.stringContaining('n'.repeat(61)),
      })
    })
  })

  describe('paths', () => {
    test.each([
      '/health?verbose=1',
      '/health/',
      '/health/?x',
      '/%68ealth',
      'http://elsewhere.example/health',
      '/health#top',
    ])('%s is /health', async (path) => {
      const answer = await ask(host.origin, path)
      expect(answer.status).toBe(200)
      expect(json(answer)).toMatchObject({ status: 'healthy' })
    })

    test('a trailing slash changes nothing below /models either', async () => {
      expect(json(await ask(host.origin, '/models/')).models).toHaveLength(9)
      expect(json(await ask(host.origin, '/models/identity/'))).toMatchObject({ name: 'identity' })
      expect((await post(host.origin, '/models/identity/predict/', { x: [1, 2, 3] })).status).toBe(200)
      expect((await post(host.origin, '/models/identity/versions/1/predict/', { x: [1, 2, 3] })).status).toBe(
        200,
      )
    })

    test.each([
      ['GET', '/'],
      ['GET', '/nowhere'],
      ['GET', '/healthy'],
      ['GET', '/HEALTH'],
      ['GET', '//health'],
      ['GET', '/health//'],
      ['GET', '/v2/models/'],
      ['GET', '/v2/models//'],
      ['GET', '/models//'],
      ['GET', '/v2/models/identity/versions/'],
      ['POST', '/models/identity//'],
      ['GET', '/health;x=1'],
      ['GET', '/../health'],
      ['GET', '/models/identity/versions'],
      ['GET', '/models/identity/predict'],
      ['GET', '/predict'],
      ['HEAD', '/predict'],
      ['OPTIONS', '/predict'],
      ['POST', '/health'],
      ['PUT', '/models/identity'],
      ['PATCH', '/models/identity'],
      ['DELETE', '/models/identity'],
      ['POST', '/models/identity/versions/predict'],
      ['POST', '/models/identity/versions/1/predict/more'],
    ])('%s %s falls through to the app', async (method, path) => {
      if (resolvesDots && hasDots(path)) return
      const answer = await ask(host.origin, path, { method })
      expect(answer.status).toBe(404)
      if (method !== 'HEAD') expect(answer.text).toBe(ownNotFound)
    })

    test("the app's own routes stay its own", async () => {
      expect((await ask(host.origin, '/own')).text).toBe(ownAnswer)
    })

    test.each(['/models/%', '/models/%zz', '/models/%ff', '/models/%c3%28'])(
      'the malformed %s is a 400, which Fastify gives before any route is asked',
      async (path) => {
        const answer = await ask(host.origin, path)
        expect(answer.status).toBe(400)
        expect(['INVALID_REQUEST', 'FST_ERR_BAD_URL']).toContain(json(answer).code)
      },
    )

    test.each(['/health', '/ready', '/models', '/models/identity', '/metrics'])(
      'HEAD %s answers as GET does, without the body',
      async (path) => {
        const get = await ask(host.origin, path)
        const head = await ask(host.origin, path, { method: 'HEAD' })
        expect(head.status).toBe(200)
        expect(head.text).toBe('')
        expect(head.headers['content-type']).toBe(get.headers['content-type'])
        expect(Number(head.headers['content-length'])).toBeGreaterThan(0)
      },
    )

    test('HEAD of a model that is not there is a 404 without a body', async () => {
      const head = await ask(host.origin, '/models/none', { method: 'HEAD' })
      expect(head.status).toBe(404)
      expect(head.headers['content-type']).toBe('application/problem+json; charset=utf-8')
      expect(head.text).toBe('')
    })
  })

  describe('under a prefix', () => {
    let mounted: RunningHost
    beforeAll(async () => {
      mounted = await start(serving, { prefix: '/ml/v1' })
    })
    afterAll(() => mounted[Symbol.asyncDispose]())

    test('every route is below it', async () => {
      for (const path of ['/health', '/health/', '/ready', '/metrics', '/models', '/models/identity']) {
        expect((await ask(mounted.origin, `/ml/v1${path}`)).status, path).toBe(200)
      }
      const answer = await post(mounted.origin, '/ml/v1/models/identity/predict', { x: [1, 2, 3] })
      expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
    })

    test.each(['/health', '/ml/health', '/ml/v1', '/ml/v1/', '/ml/v1/nowhere', '/ml/v1health'])(
      'the app has %s to itself',
      async (path) => {
        const answer = await ask(mounted.origin, path)
        expect(answer.status).toBe(404)
        expect(answer.text).toBe(ownNotFound)
      },
    )
  })
})
