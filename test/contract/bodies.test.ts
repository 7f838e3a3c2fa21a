import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post, type Question } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hosts, type RunningHost } from './hosts.js'
import { startServing } from './serving.js'

const folder = temporaryFolder()
const predict = '/models/identity/predict'
const body = '{"x":[1,2,3]}'
const type = { 'content-type': 'application/json' }
let serving: AnyServing

beforeAll(async () => {
  serving = await startServing(folder, quietLogger())
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  let strict: RunningHost
  beforeAll(async () => {
    host = await start(serving)
    strict = await start(serving, { maxBodyBytes: body.length })
  })
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    await strict[Symbol.asyncDispose]()
  })

  test.each<[string, Question]>([
    ['of application/json', { headers: type, body }],
    ['without a content type', { body }],
    ['with a charset', { headers: { 'content-type': 'application/json; charset=utf-8' }, body }],
    [
      'with a charset in capitals and quotes',
      { headers: { 'content-type': 'APPLICATION/JSON;charset="UTF-8"' }, body },
    ],
    ['with a parameter that is none', { headers: { 'content-type': 'application/json; ;' }, body }],
    ['of a type that is JSON too', { headers: { 'content-type': 'application/vnd.acme.v1+json' }, body }],
    ['encoded as identity', { headers: { ...type, 'content-encoding': 'Identity' }, body }],
    ['with a byte order mark', { headers: type, body: `\uFEFF${body}` }],
    ['between white space', { headers: type, body: `\r\n\t ${body} \n` }],
    ['in chunks', { headers: type, body: ['{"x":', '[1,', '2,3]}'] }],
    ['in chunks, without a content type', { body: [body] }],
    ['whose characters are escaped', { headers: type, body: String.raw`{"\u0078":[1,2,3]}` }],
    ['that says a field twice, the last of which counts', { headers: type, body: '{"x":[9],"x":[1,2,3]}' }],
  ])('a body %s is read', async (_, question) => {
    const answer = await ask(host.origin, predict, question)
    expect(answer.status).toBe(200)
    expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
  })

  test.each<[string, Question, string]>([
    ['none at all', { method: 'POST' }, 'the body is empty; send a JSON object.'],
    ['an empty one', { body: '' }, 'the body is empty; send a JSON object.'],
    ['an empty one of JSON', { headers: type, body: '' }, 'the body is empty; send a JSON object.'],
    [
      'an empty one in chunks',
      { headers: type, body: [], method: 'POST' },
      'the body is empty; send a JSON object.',
    ],
    ['white space', { headers: type, body: ' \n' }, 'the body is not JSON: '],
    ['text', { headers: type, body: 'hello' }, 'the body is not JSON: '],
    ['half of an object', { headers: type, body: '{"x":[1,2' }, 'the body is not JSON: '],
    ['NaN', { headers: type, body: '{"x":[NaN,2,3]}' }, 'the body is not JSON: '],
    ['NaN', { headers: type, body: '{"x":[1, NaN]}' }, 'is not valid JSON; JSON has no NaN and no Infinity'],
    ['infinity', { headers: type, body: '{"x":-Infinity}' }, '; JSON has no NaN and no Infinity'],
    ['a form', { headers: type, body: 'x=1&x=2&x=3' }, 'the body is not JSON: '],
    ['a list', { headers: type, body: '[[1,2,3]]' }, 'the body must be a JSON object; got a list of 1.'],
    ['a number', { headers: type, body: '5' }, 'the body must be a JSON object; got 5.'],
    ['a string', { headers: type, body: '"x"' }, 'the body must be a JSON object; got "x".'],
    ['true', { headers: type, body: 'true' }, 'the body must be a JSON object; got true.'],
    ['null', { headers: type, body: 'null' }, 'the body must be a JSON object; got null.'],
    [
      'latin-1',
      { headers: type, body: Buffer.from('{"caf\xe9":1}', 'latin1') },
      'the body is not valid UTF-8.',
    ],
    [
      'UTF-16',
      { headers: type, body: Buffer.from(`\uFEFF${body}`, 'utf16le') },
      'the body is not valid UTF-8.',
    ],
  ])('a body that is %s is refused', async (_, question, detail) => {
    const answer = await ask(host.origin, predict, question)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_REQUEST', detail: expect.stringContaining(detail) })
    expect(answer.text.length).toBeLessThan(400)
  })

  test.each([
    '',
    'nonsense',
    ';;',
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/octet-stream',
    'application/jsonp',
    'application/json, text/plain',
    'text/json',
    'application/json/x',
  ])('a body of the content type %j is not served', async (contentType) => {
    const answer = await ask(host.origin, predict, { headers: { 'content-type': contentType }, body })
    expect(answer.status).toBe(415)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(json(answer)).toEqual({
      type: 'about:blank',
      title: 'Unsupported Media Type',
      status: 415,
      code: 'UNSUPPORTED_MEDIA_TYPE',
      detail: `the body must be application/json; got ${JSON.stringify(contentType)}.`,
      request_id: answer.headers['x-request-id'],
    })
  })

  test.each(['compress', 'zstd', 'gzip, br', 'nonsense', ''])(
    'a body of the encoding %j is not served',
    async (encoding) => {
      const headers = { ...type, 'content-encoding': encoding }
      const answer = await ask(host.origin, predict, { headers, body: gzipSync(body) })
      expect(answer.status).toBe(415)
      expect(json(answer)).toMatchObject({
        code: 'UNSUPPORTED_MEDIA_TYPE',
        detail: `the body may be encoded as gzip, deflate or br; got ${JSON.stringify(encoding)}.`,
      })
    },
  )

  test('a body of exactly the limit is read, in one piece and in chunks', async () => {
    expect((await ask(strict.origin, predict, { headers: type, body })).status).toBe(200)
    expect((await ask(strict.origin, predict, { headers: type, body: Array.from(body) })).status).toBe(200)
  })

  test.each<[string, Question]>([
    ['by its content-length', { headers: type, body: `${body} ` }],
    ['in chunks', { headers: type, body: [body, ' '] }],
    ['in many chunks', { headers: type, body: Array.from({ length: 100 }, () => ' '.repeat(10_000)) }],
    ['far beyond', { headers: type, body: ' '.repeat(5_000_000) }],
  ])('a body over the limit is refused: %s', async (_, question) => {
    const answer = await ask(strict.origin, predict, question)
    expect(answer.status).toBe(413)
    expect(json(answer)).toMatchObject({
      code: 'BODY_TOO_LARGE',
      detail: 'the body is larger than 13 bytes.',
    })
  })

  test('a body far over the default limits of the frameworks is read', async () => {
    const rows = Array.from({ length: 60_000 }, () => [0.125, 0.25, 0.375])
    const answer = await post(host.origin, predict, { x: rows })
    expect(answer.status).toBe(200)
    expect(json(answer).prediction).toHaveLength(60_000)
  })

  test.each([
    ['__proto__', '{"x":[1,2,3],"__proto__":{"polluted":true}}', 'there is no input "__proto__".'],
    ['__proto__ alone', '{"__proto__":{"x":[1,2,3]}}', 'input "x" is missing'],
    ['__proto__ inside', '{"input":{"__proto__":{"x":[1,2,3]}}}', 'input "x" is missing'],
    ['constructor', '{"x":[1,2,3],"constructor":{"prototype":{}}}', 'there is no input "constructor".'],
    ['toString', '{"x":[1,2,3],"toString":1}', 'there is no input "toString".'],
  ])('the key %s is a name like any other', async (_, text, detail) => {
    const answer = await post(host.origin, predict, text)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_INPUT', detail: expect.stringContaining(detail) })
    expect(Object.prototype).not.toHaveProperty('polluted')
  })

  test.each([
    ['lists nested as deeply as may be', `{"x":${nested(63)}}`, 'got more than 2 nested lists'],
    ['nested objects', `${'{"x":'.repeat(64)}1${'}'.repeat(64)}`, 'got an object'],
    ['a number beyond float32', '{"x":[1e300,2,3]}', 'a finite number within the range of float32'],
    ['a number beyond double', '{"x":[1e999,2,3]}', 'a finite number within the range of float32'],
    ['a tensor of its own making', '{"x":{"dtype":"float32","shape":[1,3],"data":[1,2,3]}}', 'input "x"'],
    ['a list of lists of unequal length', '{"x":[[1,2,3],[1]]}', 'the list at [1] must have 3 entries'],
    ['a list that begins flat', '{"x":[1,[2],3]}', 'the value at [1] must be a number; got a list'],
  ])('the input is refused without harm: %s', async (_, text, detail) => {
    const answer = await post(host.origin, predict, text)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_INPUT', detail: expect.stringContaining(detail) })
    expect(answer.text.length).toBeLessThan(500)
  })

  test('a body sent with a GET is no matter', async () => {
    const answer = await ask(host.origin, '/health', { method: 'GET', headers: type, body: '{"x":' })
    expect(answer.status).toBe(200)
  })
})

function nested(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth)
}
