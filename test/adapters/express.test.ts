import { once } from 'node:events'
import { createServer } from 'node:http'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import express4 from 'express4'
import { createServing, float32, onnx } from 'mlserving'
import expressServing, { mlServing } from 'mlserving/express'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { listen } from '../contract/hosts.js'
import { Gate } from '../contract/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { addInt64, identityModel } from '../onnx/models.js'
import { errorOf, float32Bytes, infer, inferBinary, partsOf } from '../v2/client.js'

const repository = temporaryFolder()
const path = '/models/identity/predict'
const input = { x: [1, 2, 3] }

beforeAll(() => {
  writeInto(repository, 'identity/1/model.onnx', identityModel())
  writeInto(repository, 'add/1/model.onnx', addInt64())
})

function inlineServing() {
  const inline = (name: string) => onnx({ source: `${repository}/${name}`, placement: 'inline' })
  const image = onnx({
    source: `${repository}/identity`,
    placement: 'inline',
    accepts: ['image/*'],
    encode: (bytes: Uint8Array) => ({ x: float32(bytes, [1, 3]) }),
  })
  return createServing({ models: { identity: inline('identity'), add: inline('add'), image } })
}

describe('what is served', () => {
  test('a repository folder', async () => {
    const ml = mlServing(repository)
    await using host = await listen(createServer(express().use(ml)))
    expect(json(await post(host.origin, path, input))).toMatchObject({ prediction: [1, 2, 3] })
    await ml.close()
  })

  test('the folder ./models where nothing is said', async () => {
    const before = process.cwd()
    process.chdir(temporaryRepository({ 'models/here/1/model.onnx': identityModel() }))
    onTestFinished(() => process.chdir(before))
    const ml = mlServing()
    await ml.serving.ready()
    expect(ml.serving.models.names()).toEqual(['here'])
    await ml.close()
  })

  test("the options of a serving, with the door's among them", async () => {
    const ml = mlServing({ repository, defaultModel: 'identity', maxBodyBytes: 15 })
    await using host = await listen(createServer(express().use(ml)))
    expect((await post(host.origin, '/predict', input)).status).toBe(200)
    expect((await post(host.origin, '/predict', { x: [100, 200, 300] })).status).toBe(413)
    await ml.close()
  })

  test("a serving, with the door's options beside it", async () => {
    await using serving = inlineServing()
    const ml = mlServing(serving, { maxBodyBytes: 5 })
    await using host = await listen(createServer(express().use(ml)))
    expect(ml.serving).toBe(serving)
    expect((await post(host.origin, path, input)).status).toBe(413)
  })

  test('an option that is undefined is one that was not given', async () => {
    const ml = mlServing({ repository, maxBodyBytes: undefined, maxInstances: undefined } as object)
    await using host = await listen(createServer(express().use(ml)))
    const instances = Array.from({ length: 1001 }, () => input)
    expect((await post(host.origin, path, { instances })).status).toBe(400)
    expect((await post(host.origin, path, ' '.repeat(17 * 1024 * 1024))).status).toBe(413)
    await ml.close()
  })

  test.each([
    [{ maxBodyBytes: 0 }, 'mlServing(): maxBodyBytes must be an integer of at least 1; got 0.'],
    [{ maxInstances: 1.5 }, 'mlServing(): maxInstances must be an integer of at least 1; got 1.5.'],
    [{ repositry: 'models' }, 'createServing(): unknown option "repositry". Did you mean "repository"?'],
    [{ toString: 1 }, 'createServing(): unknown option "toString".'],
    [7, 'mlServing() takes a serving, a folder or options; got 7.'],
    [null, 'mlServing() takes a serving, a folder or options; got null.'],
  ])('the wrong option %j throws at once', (options, message) => {
    expect(() => mlServing(options as object)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }),
    )
  })

  test('a wrong option beside a serving throws at once', async () => {
    await using serving = inlineServing()
    await serving.ready()
    expect(() => mlServing(serving, { maxBodyBites: 1 } as object)).toThrow(/Did you mean "maxBodyBytes"\?/)
  })

  test('is the default export too', () => {
    expect(expressServing).toBe(mlServing)
  })
})

describe('close', () => {
  test('closes a serving that the handler made, and joins a second call', async () => {
    const ml = mlServing(repository)
    await ml.serving.ready()
    await Promise.all([ml.close(), ml.close()])
    await expect(ml.serving.predict('identity', input)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test("leaves a serving that was given to it, which is the caller's to close", async () => {
    await using serving = inlineServing()
    await serving.ready()
    await mlServing(serving).close()
    expect(await serving.predict('identity', input)).toMatchObject({ prediction: [1, 2, 3] })
  })
})

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
])("%s: what the app's own parsers made of the body", (_, framework) => {
  async function start(...parsers: RequestHandler[]) {
    const serving = inlineServing()
    onTestFinished(() => serving.close())
    await serving.ready()
    const app = framework()
    for (const parser of parsers) app.use(parser)
    app.use(mlServing(serving, { maxBodyBytes: 1000 }))
    const onError: ErrorRequestHandler = (error: { status: number }, _req, res, _next) => {
      res.status(error.status).send("the app's own error page")
    }
    const host = await listen(createServer(app.use(onError)))
    onTestFinished(() => host[Symbol.asyncDispose]())
    return host.origin
  }

  test('express.json() before us has read it, and it is used', async () => {
    const origin = await start(framework.json())
    expect(json(await post(origin, path, input))).toMatchObject({ prediction: [1, 2, 3] })
    expect(json(await post(origin, path, { instances: [input] }))).toMatchObject({ predictions: [{}] })
    const wrong = await post(origin, path, [input])
    expect(wrong.status).toBe(400)
    expect(json(wrong)).toMatchObject({
      code: 'INVALID_REQUEST',
      detail: expect.stringContaining('a list of 1'),
    })
  })

  test('a body that express.json() passed over is read, and judged, by us', async () => {
    const origin = await start(framework.json())
    const body = JSON.stringify(input)
    const vendor = { 'content-type': 'application/vnd.acme+json' }
    expect((await ask(origin, path, { headers: vendor, body })).status).toBe(200)
    expect((await ask(origin, path, { headers: vendor, body: [body] })).status).toBe(200)
    expect((await ask(origin, path, { headers: { 'content-type': 'text/plain' }, body })).status).toBe(415)
    expect((await ask(origin, path, { headers: vendor, body: body.padEnd(1001) })).status).toBe(413)
  })

  test("what express.json() refuses is answered by the app's own error handler", async () => {
    const origin = await start(framework.json({ limit: 10 }))
    const tooLarge = await post(origin, path, input)
    expect(tooLarge.status).toBe(413)
    expect(tooLarge.text).toBe("the app's own error page")
    expect((await post(origin, path, '{"x":')).text).toBe("the app's own error page")
  })

  test('the bytes of express.raw() are JSON as good as any', async () => {
    const origin = await start(framework.raw({ type: '*/*' }))
    expect(json(await post(origin, path, input))).toMatchObject({ prediction: [1, 2, 3] })
    const broken = await post(origin, path, '{"x":')
    expect(broken.status).toBe(400)
    expect(json(broken)).toMatchObject({ code: 'INVALID_REQUEST' })
  })

  test.each([
    ['express.json()', framework.json()],
    ['express.raw()', framework.raw({ type: '*/*' })],
  ])('tensors in JSON and in raw bytes come through behind %s', async (_what, parser) => {
    const origin = await start(parser)
    const x = { name: 'x', shape: [1, 3], datatype: 'FP32' }
    const inJson = await infer(origin, 'identity', { inputs: [{ ...x, data: [1, 2, 3] }] })
    expect(partsOf(inJson).head.outputs[0]?.data).toEqual([1, 2, 3])
    const request = { inputs: [{ ...x, parameters: { binary_data_size: 12 } }] }
    const raw = await inferBinary(origin, 'identity', request, [float32Bytes(4, 5, 6)])
    expect(partsOf(raw).head.outputs[0]?.data).toEqual([4, 5, 6])
  })

  test('an int64 tensor that express.json() has rounded is refused', async () => {
    const origin = await start(framework.json())
    const x = '"name":"x","shape":[1,3],"datatype":"INT64"'
    const answer = await infer(origin, 'add', `{"inputs":[{${x},"data":[9007199254740993,1,1]}]}`)
    expect(answer.status).toBe(400)
    expect(errorOf(answer)).toEqual(expect.stringContaining('beyond 2^53'))
  })

  test('an int64 that express.json() has rounded is refused', async () => {
    const origin = await start(framework.json())
    const answer = await post(origin, '/models/add/predict', '{"x":[9007199254740993,1,1]}')
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({
      code: 'INVALID_INPUT',
      detail: expect.stringContaining('beyond 2^53'),
    })
  })

  test('40,000 nested brackets that express.json() has parsed are refused', async () => {
    const origin = await start(framework.json({ limit: '1mb' }))
    for (const [open, close] of [
      ['[', ']'],
      ['{"x":', '}'],
    ] as const) {
      const text = `{"x":${open.repeat(40_000)}1${close.repeat(40_000)}}`
      const answer = await post(origin, path, text)
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({
        code: 'INVALID_REQUEST',
        detail: 'the body is nested more than 64 levels deep (maxBodyDepth).',
      })
    }
    const bytes = await start(framework.raw({ type: '*/*', limit: '1mb' }))
    const nested = `{"x":${'['.repeat(40_000)}${']'.repeat(40_000)}}`
    expect(json(await post(bytes, path, nested))).toMatchObject({ code: 'INVALID_REQUEST' })
  })

  test('a key __proto__ that express.json() has parsed is a name like any other', async () => {
    const origin = await start(framework.json())
    const answer = await post(origin, path, '{"x":[1,2,3],"__proto__":{"polluted":true}}')
    expect(json(answer)).toMatchObject({ detail: expect.stringContaining('there is no input "__proto__"') })
  })

  test('a form that express.urlencoded() has parsed is an input of texts', async () => {
    const origin = await start(framework.urlencoded({ extended: true }))
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await ask(origin, path, { headers, body: 'x=1&x=2&x=3' })
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ detail: expect.stringContaining('must be a number; got "1"') })
    expect(json(await post(origin, path, input))).toMatchObject({ prediction: [1, 2, 3] })
  })

  test('what express.raw() and express.text() made of a type that the model accepts are its bytes', async () => {
    const image = '/models/image/predict'
    const png = { 'content-type': 'image/png' }
    for (const parser of [framework.raw({ type: 'image/*' }), framework.text({ type: 'image/*' })]) {
      const origin = await start(parser)
      const answer = await ask(origin, image, { headers: png, body: Uint8Array.of(1, 2, 3) })
      expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
    }
    const origin = await start(framework.json({ type: '*/*' }))
    const answer = await ask(origin, image, { headers: png, body: '{"x":1}' })
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ detail: expect.stringContaining('has made an object') })
  })

  test('a body that a middleware put there itself is used', async () => {
    const origin = await start((req, _res, next) => {
      req.body = input
      next()
    })
    expect(json(await ask(origin, path, { method: 'POST' }))).toMatchObject({ prediction: [1, 2, 3] })
  })

  test('a missing body behind express.json() is a 400', async () => {
    const origin = await start(framework.json())
    const answer = await ask(origin, path, { method: 'POST' })
    expect(answer.status).toBe(400)
  })
})

describe('mounting', () => {
  test('middleware before it guards it', async () => {
    await using serving = inlineServing()
    const app = express()
    app.use((req, res, next) =>
      req.headers.authorization === 'Bearer good' ? next() : void res.sendStatus(401),
    )
    await using host = await listen(createServer(app.use(mlServing(serving))))
    expect((await post(host.origin, path, input)).status).toBe(401)
    expect((await post(host.origin, path, input, { authorization: 'Bearer good' })).status).toBe(200)
  })

  test('one serving can be mounted twice, in a router and with a parameter in its prefix', async () => {
    await using serving = inlineServing()
    const app = express()
    app.use('/a', express.Router().use('/b', mlServing(serving)))
    app.use('/tenants/:tenant', mlServing(serving, { maxBodyBytes: 5 }))
    await using host = await listen(createServer(app))
    expect((await post(host.origin, `/a/b${path}`, input)).status).toBe(200)
    expect((await post(host.origin, `/tenants/7${path}`, input)).status).toBe(413)
    expect((await ask(host.origin, '/tenants/7/health')).status).toBe(200)
  })

  test('no framework is needed: it is a handler of node:http', async () => {
    await using serving = inlineServing()
    const ml = mlServing(serving)
    const server = createServer((req, res) => ml(req, res, () => void res.writeHead(404).end('not here')))
    await using host = await listen(server)
    expect(json(await post(host.origin, path, input))).toMatchObject({ prediction: [1, 2, 3] })
    expect((await ask(host.origin, '/elsewhere')).text).toBe('not here')
  })

  test('an answer that the app has given meanwhile, on a timeout say, stays the answer', async () => {
    const gate = new Gate()
    const began = new Gate()
    const logger = quietLogger()
    await using serving = createServing({
      logger,
      models: {
        identity: onnx({
          source: `${repository}/identity`,
          placement: 'inline',
          decode: () => {
            began.open()
            return gate.opened
          },
        }),
      },
    })
    const app = express()
    app.post('/{*any}', (_req, res, next) => {
      void began.opened.then(() => res.status(503).send('too late'))
      next()
    })
    const server = createServer(app.use(mlServing(serving)))
    await using host = await listen(server)
    const answer = await post(host.origin, path, input)
    gate.open()
    expect(answer.status).toBe(503)
    expect((await ask(host.origin, '/health')).status).toBe(200)
    expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('the request keeps its socket after a refusal, for who logs it', async () => {
    await using serving = inlineServing()
    const app = express()
    const addresses: unknown[] = []
    const logged = new Promise<void>((resolve) => {
      app.use((req, res, next) => {
        res.once('finish', () => {
          addresses.push(req.ip)
          resolve()
        })
        next()
      })
    })
    await using host = await listen(createServer(app.use(mlServing(serving, { maxBodyBytes: 5 }))))
    const answer = await ask(host.origin, path, { body: ['{"x":', '[1,2,3]}'] })
    await logged
    expect(answer.status).toBe(413)
    expect(addresses).toEqual(['127.0.0.1'])
  })

  test('the server closes while a prediction is under way, which is still answered', async () => {
    const gate = new Gate()
    const began = new Gate()
    const serving = createServing({
      models: {
        identity: onnx({
          source: `${repository}/identity`,
          placement: 'inline',
          decode: ({ y }) => {
            began.open()
            return gate.opened.then(() => y?.shape)
          },
        }),
      },
    })
    const ml = mlServing(serving)
    const server = createServer(express().use(ml))
    const { origin } = await listen(server)
    const answer = post(origin, path, input)
    await began.opened
    const closed = once(server, 'close').then(() => serving.close())
    server.close()
    gate.open()
    expect(json(await answer)).toMatchObject({ prediction: [1, 3] })
    await closed
  })
})
