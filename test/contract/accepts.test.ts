import { createServing, float32, onnx } from 'mlserving'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
let serving: AnyServing
/** What the models' own code was given. */
let seen: unknown[] = []

function encode(input: unknown) {
  seen.push(input)
  const first = input instanceof Uint8Array ? input : []
  return { x: float32([first[0] ?? 0, first[1] ?? 0, first[2] ?? 0], [1, 3]) }
}

beforeAll(async () => {
  writeInto(folder, '1/model.onnx', identityModel())
  const model = { source: folder, placement: 'inline' } as const
  serving = asAny(
    createServing({
      models: {
        image: onnx({ ...model, accepts: ['image/*', 'application/octet-stream'], encode }),
        open: onnx({ ...model, accepts: ['image/png'], encode, unchecked: true }),
        both: onnx({
          ...model,
          accepts: ['*/*'],
          input: z.union([z.instanceof(Uint8Array), z.object({ x: z.number() })]),
          encode,
        }),
        closed: onnx({ ...model, encode }),
        codec: onnx({ ...model, codec: () => ({ encode }) }),
        unchecked: onnx({ ...model, codec: () => ({ encode }), unchecked: true }),
        decoding: onnx({ ...model, decode: () => 'any' }),
      },
    }),
  )
  await serving.ready()
})
beforeEach(() => {
  seen = []
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving, { maxBodyBytes: 1000 })
  })
  afterAll(() => host[Symbol.asyncDispose]())

  const send = (model: string, type: string | undefined, body: Uint8Array | string, headers = {}) =>
    ask(host.origin, `/models/${model}/predict`, {
      headers: { ...(type !== undefined && { 'content-type': type }), ...headers },
      body,
    })

  describe('a model that accepts content types', () => {
    test.each(['image/png', 'IMAGE/JPEG', 'image/svg+xml; charset=utf-8', 'application/octet-stream'])(
      'takes the bytes of %s as they are',
      async (type) => {
        const answer = await send('image', type, Uint8Array.of(7, 0, 255, 123))
        expect(answer.status).toBe(200)
        expect(json(answer)).toMatchObject({ prediction: [7, 0, 255], model_version: '1' })
        const [bytes] = seen
        expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype)
        expect(bytes).toEqual(Uint8Array.of(7, 0, 255, 123))
        // Nobody else's memory is behind them.
        expect((bytes as Uint8Array).buffer.byteLength).toBe(4)
      },
    )

    test('takes them inflated, in chunks, of a version, and none at all', async () => {
      const gzip = { 'content-encoding': 'gzip' }
      expect((await send('image', 'image/png', gzipSync(Uint8Array.of(1, 2, 3)), gzip)).status).toBe(200)
      const parts = { headers: { 'content-type': 'image/png' }, body: ['a', 'b', 'c'] }
      expect((await ask(host.origin, '/models/image/versions/1/predict', parts)).status).toBe(200)
      expect((await send('image', 'image/png', '')).status).toBe(200)
      expect(seen).toEqual([Uint8Array.of(1, 2, 3), Uint8Array.of(97, 98, 99), new Uint8Array()])
    })

    test('takes them with the same limits', async () => {
      expect((await send('image', 'image/png', new Uint8Array(1000))).status).toBe(200)
      const gzip = { 'content-encoding': 'gzip' }
      expect((await send('image', 'image/png', new Uint8Array(1001))).status).toBe(413)
      expect((await send('image', 'image/png', gzipSync(new Uint8Array(1001)), gzip)).status).toBe(413)
      expect((await send('image', 'image/png', 'no gzip', gzip)).status).toBe(400)
    })

    test.each(['text/plain', 'imagination/png', 'application/octet', 'video/mp4', 'image'])(
      'does not take %s, and says what it takes',
      async (type) => {
        const answer = await send('image', type, 'abc')
        expect(answer.status).toBe(415)
        expect(json(answer)).toMatchObject({
          code: 'UNSUPPORTED_MEDIA_TYPE',
          detail: expect.stringMatching(
            type === 'image'
              ? /^the body must be application\/json/ // malformed: Fastify asks no route
              : /^the body must be application\/json, image\/\* or application\/octet-stream; got /,
          ),
        })
        expect(seen).toEqual([])
      },
    )

    test('takes JSON where a schema checks it, or nothing needs to', async () => {
      expect((await post(host.origin, '/models/both/predict', { x: 1 })).status).toBe(200)
      expect((await send('both', undefined, '{"x":1}')).status).toBe(200)
      expect((await post(host.origin, '/models/both/predict', { x: 'text' })).status).toBe(400)
      expect((await send('both', 'text/csv', '{"x":1}')).status).toBe(200)
      expect((await post(host.origin, '/models/open/predict', { any: 1 })).status).toBe(200)
      expect(seen).toEqual([{ x: 1 }, { x: 1 }, new TextEncoder().encode('{"x":1}'), { any: 1 }])
    })

    test('takes no JSON that nobody checks', async () => {
      const answer = await post(host.origin, '/models/image/predict', { x: 1 })
      expect(answer.status).toBe(403)
      expect(json(answer)).toMatchObject({
        code: 'NOT_EXPOSED',
        detail: expect.stringContaining('It takes bodies of image/* or application/octet-stream.'),
      })
      expect(seen).toEqual([])
    })
  })

  describe("a model whose own code nobody's checks precede", () => {
    test.each(['closed', 'codec'])('is not reachable: %s', async (model) => {
      for (const [path, body] of [
        [`/models/${model}/predict`, { x: 1 }],
        [`/models/${model}/versions/1/predict`, { input: { x: 1 } }],
        [`/models/${model}/predict`, { instances: [{ x: 1 }] }],
        [`/models/${model}/predict`, 'no JSON'],
      ] as const) {
        const answer = await post(host.origin, path, body)
        expect(answer.status).toBe(403)
        expect(json(answer)).toMatchObject({
          title: 'Forbidden',
          code: 'NOT_EXPOSED',
          detail: `model "${model}" takes no JSON over HTTP, since nothing would check it: give the model an \`input\` schema, or \`unchecked: true\`.`,
        })
      }
      expect(seen).toEqual([])
    })

    test('is reachable where the user says that it may', async () => {
      expect((await post(host.origin, '/models/unchecked/predict', { x: 1 })).status).toBe(200)
      const instances = { instances: [{ x: 1 }, 5] }
      expect((await post(host.origin, '/models/unchecked/predict', instances)).status).toBe(200)
      expect(seen).toEqual([{ x: 1 }, { x: 1 }, 5])
      expect(Object.getPrototypeOf(seen[0])).toBeNull()
      expect(Object.getPrototypeOf(seen[1])).toBeNull()
    })

    test('is open to the process itself', async () => {
      expect((await serving.predict('closed', { x: 1 })).prediction).toEqual([0, 0, 0])
    })

    test('is another matter than a decode, which only sees what the model gave', async () => {
      const answer = await post(host.origin, '/models/decoding/predict', { x: [1, 2, 3] })
      expect(json(answer)).toMatchObject({ prediction: 'any' })
    })
  })
})

test('whether a model is reachable is known once the models of a folder are looked up', async () => {
  await using early = createServing({
    repository: folder,
    logger: quietLogger(),
    models: { closed: onnx({ source: folder, placement: 'inline', encode }) },
  })
  expect(early.models.has('closed')).toBe(false)
  expect(early.models.isListed).toBe(false)
  await early.models.listed()
  expect(early.models.httpProfile('closed')).toMatchObject({ checked: false })
})

describe('onnx()', () => {
  test.each([
    [{ accepts: [] }, 'accepts must be a list of content types other than JSON'],
    [{ accepts: 'image/png' }, 'accepts must be a list of content types'],
    [{ accepts: ['image'] }, 'accepts must be a list of content types'],
    [{ accepts: ['application/json'] }, 'accepts must be a list of content types other than JSON'],
    [{ unchecked: 'yes' }, 'unchecked must be true or false'],
  ])('refuses %j', (options, message) => {
    expect(() => onnx({ source: folder, encode, ...options } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }),
    )
  })

  test('refuses accepts where there is nothing that takes bytes', () => {
    expect(() => onnx({ source: folder, accepts: ['image/*'] })).toThrow(
      /accepts needs an input, encode or codec/,
    )
  })
})
