import { connect } from 'node:http2'
import { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createGunzip, gzipSync } from 'node:zlib'
import fastify, {
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { createServing, custom, onnx } from 'mlserving'
import fastifyServing, { mlServing } from 'mlserving/fastify'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { Gate } from '../contract/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { EventClient } from '../http/event-client.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const repository = temporaryFolder()
const path = '/models/identity/predict'
const input = { x: [1, 2, 3] }
const predict = { method: 'POST', url: path, payload: input } as const

beforeAll(() => writeInto(repository, 'identity/1/model.onnx', identityModel()))

function inlineServing() {
  return createServing({
    models: { identity: onnx({ source: `${repository}/identity`, placement: 'inline' }) },
  })
}

/** An app that closes with the test. */
function startApp(options: FastifyServerOptions = {}): FastifyInstance {
  const app = fastify(options)
  onTestFinished(() => app.close())
  return app
}

/** An app that serves {@link inlineServing}. */
async function startServed(options?: FastifyServerOptions): Promise<FastifyInstance> {
  const serving = inlineServing()
  await serving.ready()
  const app = startApp(options)
  app.addHook('onClose', () => serving.close())
  await app.register(mlServing, { serving })
  return app
}

describe('registration', () => {
  test('decorates the app with the serving', async () => {
    const app = startApp()
    await app.register(mlServing, { repository })
    await app.serving.ready()
    expect(await app.serving.predict('identity', input)).toMatchObject({ prediction: [1, 2, 3] })
    expect(app.hasPlugin('mlserving')).toBe(true)
  })

  test('serves ./models where nothing is said', async () => {
    const before = process.cwd()
    process.chdir(temporaryRepository({ 'models/here/1/model.onnx': identityModel() }))
    onTestFinished(() => process.chdir(before))
    const app = startApp()
    await app.register(mlServing)
    await app.serving.ready()
    expect(app.serving.models.names()).toEqual(['here'])
  })

  test("takes the serving's options and the door's together", async () => {
    const app = startApp()
    await app.register(mlServing, { repository, defaultModel: 'identity', maxBodyBytes: 15 })
    expect((await app.inject({ ...predict, url: '/predict' })).statusCode).toBe(200)
    expect((await app.inject({ ...predict, payload: { x: [100, 200, 300] } })).statusCode).toBe(413)
  })

  test('mounts the routes below a prefix, and that of the scope', async () => {
    const app = startApp()
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    const api: FastifyPluginAsync = async (scope) => {
      await scope.register(mlServing, { serving, prefix: '/ml' })
    }
    await app.register(api, { prefix: '/api' })
    expect((await app.inject({ ...predict, url: `/api/ml${path}` })).statusCode).toBe(200)
    for (const url of ['/health', '/ml/health', '/api/health']) {
      expect((await app.inject(url)).statusCode, url).toBe(404)
    }
    expect(app.hasDecorator('serving')).toBe(false)
  })

  test('twice in one scope is refused with what to do', async () => {
    const app = fastify()
    app.register(mlServing, { repository })
    app.register(mlServing, { repository, prefix: '/second' })
    await expect(app.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringMatching(/^fastify\.serving is taken: .* sibling scopes/),
    })
    await app.close()
  })

  test('again in a scope inside is refused as well, for its handlers would see another serving', async () => {
    const app = fastify()
    app.register(mlServing, { repository })
    app.register(async (scope) => {
      await scope.register(mlServing, { repository, prefix: '/second' })
    })
    await expect(app.ready()).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await app.close()
  })

  test('twice in one scope gives two servings, where each has a name', async () => {
    const app = startApp()
    const other = temporaryRepository({ 'other/1/model.onnx': identityModel() })
    await app.register(mlServing, { repository, prefix: '/a' })
    await app.register(mlServing, { repository: other, prefix: '/b', decorator: 'second' })
    const { second } = app as unknown as { second: typeof app.serving }
    await Promise.all([app.serving.ready(), second.ready()])
    expect(app.serving.models.names()).toEqual(['identity'])
    expect(second.models.names()).toEqual(['other'])
    expect((await app.inject('/a/models/identity')).statusCode).toBe(200)
    expect((await app.inject('/b/models/other')).statusCode).toBe(200)
  })

  test('twice of one serving is no conflict', async () => {
    const app = startApp()
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving, routes: ['health'] })
    app.register(async (scope) => {
      scope.addHook('onRequest', async (_request, reply) => void reply.code(401).send('who are you?'))
      await scope.register(mlServing, { serving, routes: ['predict'] })
    })
    expect((await app.inject('/health')).statusCode).toBe(200)
    expect((await app.inject(predict)).statusCode).toBe(401)
  })

  test('under a name that the app has already is refused', async () => {
    const app = fastify()
    app.decorate('ml', {})
    app.register(mlServing, { repository, decorator: 'ml' })
    await expect(app.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining('fastify.ml is taken'),
    })
    await app.close()
  })

  test('in two scopes side by side gives each its own', async () => {
    const app = startApp()
    const other = temporaryRepository({ 'other/1/model.onnx': identityModel() })
    for (const [prefix, folder] of [
      ['/a', repository],
      ['/b', other],
    ] as const) {
      app.register(async (scope) => {
        await scope.register(mlServing, { repository: folder, prefix })
        await scope.serving.ready()
      })
    }
    expect((await app.inject('/a/models/identity')).statusCode).toBe(200)
    expect((await app.inject('/b/models/identity')).statusCode).toBe(404)
    expect((await app.inject('/b/models/other')).statusCode).toBe(200)
  })

  test.each([
    [{ maxBodyBytes: 0 }, 'mlServing(): maxBodyBytes must be an integer of at least 1; got 0.'],
    [{ repositry: 'models' }, 'Did you mean "repository"?'],
    [{ logger: console.log }, 'createServing(): logger must be a logger'],
  ])('with the wrong options %j fails the start', async (options, message) => {
    const app = fastify()
    app.register(mlServing, options as object)
    await expect(app.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(message),
    })
    await app.close()
  })

  test('with a serving and options for another is refused', async () => {
    await using serving = inlineServing()
    await serving.ready()
    const app = fastify()
    app.register(mlServing, { serving, repository })
    await expect(app.ready()).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await app.close()
  })

  test('is the default export too', () => {
    expect(fastifyServing).toBe(mlServing)
  })
})

describe('closing the app', () => {
  test('closes a serving that the plugin made', async () => {
    const app = fastify()
    await app.register(mlServing, { repository })
    await app.serving.ready()
    const { serving } = app
    await app.close()
    await expect(serving.predict('identity', input)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test("leaves a serving that was given to it, which is the caller's to close", async () => {
    await using serving = inlineServing()
    const app = fastify()
    await app.register(mlServing, { serving })
    await app.close()
    expect(await serving.predict('identity', input)).toMatchObject({ prediction: [1, 2, 3] })
  })

  test('answers the predictions under way first', async () => {
    const gate = new Gate()
    const began = new Gate()
    const app = fastify()
    const decode = () => {
      began.open()
      return gate.opened.then(() => 'late')
    }
    const source = `${repository}/identity`
    await app.register(mlServing, { models: { identity: onnx({ source, placement: 'inline', decode }) } })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const answer = post(origin, path, input)
    await began.opened
    const closed = app.close()
    gate.open()
    expect(json(await answer)).toMatchObject({ prediction: 'late' })
    await closed
  })
})

describe('closing the app with a stream that has no end', () => {
  function endless() {
    return custom({
      unchecked: true,
      load: () => null,
      async *stream() {
        for (;;) yield await Promise.resolve('x'.repeat(2 ** 16))
      },
    })
  }

  test('cuts it off after drainTimeoutMs, where the plugin made the serving', async () => {
    const app = fastify()
    await app.register(mlServing, { drainTimeoutMs: 20, models: { endless: endless() } })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    using client = await EventClient.post(origin, '/models/endless/stream', {})
    const closed = app.close()
    expect((await client.rest()).at(-1)).toMatchObject({ name: 'error', data: { code: 'CLOSED' } })
    await closed
  })
})

describe('inject, which has no socket', () => {
  test.each([
    ['an object', { payload: input }],
    ['a text', { payload: JSON.stringify(input), headers: { 'content-type': 'application/json' } }],
    ['a text without a type', { payload: JSON.stringify(input) }],
    ['bytes', { payload: Buffer.from(JSON.stringify(input)) }],
    [
      'a stream',
      { payload: Readable.from(['{"x":', '[1,2,3]}']), headers: { 'transfer-encoding': 'chunked' } },
    ],
  ])('answers a prediction from %s', async (_, question) => {
    const app = await startServed()
    const answer = await app.inject({ method: 'POST', url: path, ...question })
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toMatchObject({ prediction: [1, 2, 3], model_version: '1' })
    expect(answer.headers['x-request-id']).toBe(answer.json().request_id)
    expect(answer.headers.connection).toBe('keep-alive')
  })

  test('answers every other route, and refuses what it should', async () => {
    const app = await startServed()
    for (const url of ['/health', '/ready', '/models', '/models/identity', '/metrics']) {
      expect((await app.inject(url)).statusCode, url).toBe(200)
      const head = await app.inject({ method: 'HEAD', url })
      expect(head.statusCode, url).toBe(200)
      expect(head.body, url).toBe('')
    }
    expect((await app.inject({ method: 'POST', url: path })).json()).toMatchObject({
      code: 'INVALID_REQUEST',
    })
    const text = { payload: 'x', headers: { 'content-type': 'text/plain' } }
    expect((await app.inject({ ...predict, ...text })).statusCode).toBe(415)
    expect((await app.inject({ ...predict, payload: ' '.repeat(17_000_000) })).statusCode).toBe(413)
  })
})

describe("the app's own", () => {
  test('content types and limits outside stay as they were', async () => {
    const app = startApp({ bodyLimit: 20 })
    app.addContentTypeParser('application/x-own', { parseAs: 'string' }, (_request, body, done) =>
      done(null, { body }),
    )
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    app.post('/own', (request) => request.body)

    expect((await app.inject({ method: 'POST', url: '/own', payload: { a: 1 } })).json()).toEqual({ a: 1 })
    const own = { payload: 'x', headers: { 'content-type': 'application/x-own' } }
    expect((await app.inject({ method: 'POST', url: '/own', ...own })).json()).toEqual({ body: 'x' })
    const xml = { payload: 'x', headers: { 'content-type': 'text/xml' } }
    expect((await app.inject({ method: 'POST', url: '/own', ...xml })).statusCode).toBe(415)
    const long = { a: 'far more than twenty bytes' }
    expect((await app.inject({ method: 'POST', url: '/own', payload: long })).statusCode).toBe(413)
    // ... and are not ours.
    expect(
      (
        await app.inject({
          ...predict,
          payload: {
            x: [
              [1, 2, 3],
              [4, 5, 6],
            ],
          },
        })
      ).statusCode,
    ).toBe(200)
    expect((await app.inject({ ...predict, ...own })).statusCode).toBe(415)
  })

  test.each(['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const)(
    '%s hook guards the routes, whatever the request',
    async (name) => {
      const app = startApp()
      app.addHook(name, async (request: FastifyRequest, reply: FastifyReply) => {
        if (request.headers.authorization !== 'Bearer good') await reply.code(401).send('who are you?')
      })
      const serving = inlineServing()
      app.addHook('onClose', () => serving.close())
      await app.register(mlServing, { serving })

      for (const question of [
        predict,
        { ...predict, url: `${path}/` },
        '/health',
        '/metrics',
        '/models/none',
      ]) {
        const answer = await app.inject(question)
        expect(answer.statusCode).toBe(401)
        expect(answer.body).toBe('who are you?')
      }
      const headers = { authorization: 'Bearer good' }
      expect((await app.inject({ ...predict, headers })).statusCode).toBe(200)
      // Fastify refuses a malformed type before the later hooks are asked; no prediction comes of it.
      const malformed = { payload: '{"x":[1,2,3]}', headers: { 'content-type': 'nonsense' } }
      const isEarly = name === 'onRequest' || name === 'preParsing'
      expect((await app.inject({ ...predict, ...malformed })).statusCode).toBe(isEarly ? 401 : 415)
    },
  )

  test('error handler answers the errors of its own hooks, and none of ours', async () => {
    const app = startApp()
    app.setErrorHandler((error: Error, _request, reply) => reply.code(418).send(`own: ${error.message}`))
    app.addHook('preHandler', async (request) => {
      if (request.headers.authorization === undefined) throw new Error('no authorization')
    })
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })

    const refused = await app.inject(predict)
    expect(refused.statusCode).toBe(418)
    expect(refused.body).toBe('own: no authorization')
    const wrong = await app.inject({ ...predict, payload: {}, headers: { authorization: 'x' } })
    expect(wrong.statusCode).toBe(400)
    expect(wrong.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  })

  test("hooks may fail: Fastify's own error handler answers, as on any route", async () => {
    const app = startApp()
    app.addHook('preHandler', async () => {
      throw Object.assign(new Error('no authorization'), { statusCode: 401, code: 'WHO' })
    })
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    for (const question of [predict, { ...predict, url: `${path}/` }, '/health']) {
      const answer = await app.inject(question)
      expect(answer.statusCode).toBe(401)
      expect(answer.json()).toEqual({
        statusCode: 401,
        code: 'WHO',
        error: 'Unauthorized',
        message: 'no authorization',
      })
    }
  })

  test('hooks may answer in our place, with an object too', async () => {
    const app = startApp()
    app.addHook('preHandler', async (_request, reply) => void reply.code(429).send({ slow: 'down' }))
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    expect((await app.inject(predict)).json()).toEqual({ slow: 'down' })
  })

  test('body that a hook has parsed is held to the same limits', async () => {
    const app = startApp()
    app.addHook('preHandler', async (request) => {
      request.body = JSON.parse(`${'{"x":'.repeat(40_000)}1${'}'.repeat(40_000)}`)
    })
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    expect((await app.inject(predict)).json()).toMatchObject({
      code: 'INVALID_REQUEST',
      detail: expect.stringContaining('maxBodyDepth'),
    })
  })

  test('onSend and onResponse hooks see our answers, and the request still has its address', async () => {
    const app = startApp()
    const seen: unknown[] = []
    app.addHook('onSend', async (_request, reply) => void reply.header('x-own', 'yes'))
    const logged = new Promise<void>((resolve) => {
      app.addHook('onResponse', async (request, reply) => {
        seen.push([request.ip, reply.statusCode])
        resolve()
      })
    })
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving, maxBodyBytes: 5 })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const answer = await ask(origin, path, { body: ['{"x":', '[1,2,3]}'] })
    await logged
    expect(answer.status).toBe(413)
    expect(answer.headers['x-own']).toBe('yes')
    expect(seen).toEqual([['127.0.0.1', 413]])
  })

  test('preParsing hook may decode the body, which is then read from its stream', async () => {
    const app = startApp()
    app.addHook('preParsing', async (request, _reply, payload) => {
      if (request.headers['content-encoding'] !== 'gzip') return payload
      delete request.headers['content-encoding']
      delete request.headers['content-length']
      return payload.pipe(createGunzip())
    })
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    const answer = await app.inject({ ...predict, payload: gzipSync(JSON.stringify(input)), headers })
    expect(answer.json()).toMatchObject({ prediction: [1, 2, 3] })
    const broken = await app.inject({ ...predict, payload: Buffer.from('no gzip'), headers })
    expect(broken.statusCode).toBe(499)
  })

  test('preHandler hook may put a body of its own in the place', async () => {
    const app = startApp()
    app.addHook('preHandler', async (request) => void (request.body = { x: [4, 5, 6] }))
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    expect((await app.inject(predict)).json()).toMatchObject({ prediction: [4, 5, 6] })
  })

  test("logger is the serving's: what failed stands there under the request id", async () => {
    const lines: Record<string, unknown>[] = []
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>)
        done()
      },
    })
    const app = startApp({ logger: { stream } })
    const decode = () => {
      throw new Error('the password is swordfish')
    }
    const source = `${repository}/identity`
    await app.register(mlServing, {
      models: { identity: onnx({ source, placement: 'inline', decode }) },
      logLevel: 'error',
    })
    const answer = await app.inject({ ...predict, headers: { 'x-request-id': 'id-1' } })
    expect(answer.statusCode).toBe(500)
    expect(answer.body).not.toContain('swordfish')
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: 50,
        requestId: 'id-1',
        msg: expect.stringContaining('the password is swordfish'),
      }),
    )
    // The requests of the routes are logged at their own level.
    expect(lines.filter(({ msg }) => /request/.test(String(msg)))).toEqual([])
  })

  test.each([
    ['slashes', { routerOptions: { ignoreTrailingSlash: true } }],
    ['duplicate slashes', { routerOptions: { ignoreDuplicateSlashes: true, ignoreTrailingSlash: true } }],
    [
      'slashes, as they used to be said',
      { ignoreTrailingSlash: true, routerOptions: { maxParamLength: 50 } },
    ],
    ['case', { routerOptions: { caseSensitive: false } }],
    ['HEAD', { exposeHeadRoutes: false }],
  ])('router options leave the routes as they are: %s', async (_, options) => {
    const app = await startServed(options)
    expect((await app.inject('/health')).statusCode).toBe(200)
    expect((await app.inject('/health/')).statusCode).toBe(200)
    expect((await app.inject({ method: 'HEAD', url: '/health' })).statusCode).toBe(200)
    expect((await app.inject({ ...predict, url: `${path}/` })).statusCode).toBe(200)
  })

  test('maxParamLength of 100 holds for the names of models, unless the app says otherwise', async () => {
    const name = 'm'.repeat(101)
    expect((await (await startServed()).inject(`/models/${name}`)).statusCode).toBe(414)
    const app = await startServed({ routerOptions: { maxParamLength: 128 } })
    expect((await app.inject(`/models/${name}`)).json()).toMatchObject({ code: 'MODEL_NOT_FOUND' })
  })

  test('routes may stand beside ours, with wildcards too', async () => {
    const app = startApp()
    app.get('/*', () => 'everything else')
    app.get('/models/:model/card', () => 'a card')
    const serving = inlineServing()
    app.addHook('onClose', () => serving.close())
    await app.register(mlServing, { serving })
    expect((await app.inject('/health')).json()).toMatchObject({ status: 'healthy' })
    expect((await app.inject('/models/identity/card')).body).toBe('a card')
    expect((await app.inject('/models/identity/other')).body).toBe('everything else')
  })
})

test('HTTP/2 is served as well', async () => {
  const serving = inlineServing()
  const app = fastify({ http2: true })
  await app.register(mlServing, { serving, maxBodyBytes: 20 })
  const session = connect(await app.listen({ host: '127.0.0.1', port: 0 }))
  const answers: unknown[] = []
  for (const body of ['{"x":[1,2,3]}', '{"x":[100,200,300],"too":"large"}', '{"x":[4,5,6]}']) {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' })
    answers.push(JSON.parse(await text(stream.end(body))))
  }
  session.close()
  await app.close()
  await serving.close()
  expect(answers).toMatchObject([
    { prediction: [1, 2, 3] },
    { code: 'BODY_TOO_LARGE' },
    { prediction: [4, 5, 6] },
  ])
})
