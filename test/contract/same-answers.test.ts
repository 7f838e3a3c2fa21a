import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, type Question } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hasDots, hosts, type RunningHost } from './hosts.js'
import { startServing } from './serving.js'

const folder = temporaryFolder()
let serving: AnyServing
let running: RunningHost[]

beforeAll(async () => {
  serving = await startServing(folder, quietLogger())
  running = await Promise.all(hosts.map(({ start }) => start(serving, { maxBodyBytes: 300 })))
})
afterAll(async () => {
  await Promise.all(running.map((host) => host[Symbol.asyncDispose]()))
  await serving.close()
})

/** What every adapter must answer alike: all but the time it took. The app's own answers are the app's. */
async function answersTo(path: string, question: Question) {
  const asked = running.filter((_, i) => hosts[i]?.resolvesDots !== true || !hasDots(path))
  return Promise.all(
    asked.map(async ({ origin }) => {
      const headers = { 'x-request-id': 'same', ...question.headers }
      const answer = await ask(origin, path, { ...question, headers })
      if (!('x-request-id' in answer.headers)) return "the app's own"
      const text = answer.text.replace(/"(timestamp|latency_ms)":[\d.e-]+/g, '"$1":0')
      return { status: answer.status, contentType: answer.headers['content-type'], text }
    }),
  )
}

const name = fc.oneof(
  fc.constantFrom(
    'identity',
    'add',
    'broken',
    'checked',
    'collides',
    'indecent',
    'sure',
    'versions',
    '..',
    '',
  ),
  fc.string({ maxLength: 20, unit: 'grapheme' }).map(encodeURIComponent),
)
const path = fc.oneof(
  fc.constantFrom('/health', '/health/', '/models', '/models/', '/predict', '/predict/', '/', '//', '/ready'),
  name.map((model) => `/models/${model}`),
  name.map((model) => `/models/${model}/predict`),
  fc.tuple(name, fc.oneof(fc.constantFrom('1', '2', 'latest'), name)).map(([model, version]) => {
    return `/models/${model}/versions/${version}/predict`
  }),
  fc.array(name, { maxLength: 6 }).map((segments) => `/${segments.join('/')}`),
  fc
    .tuple(name, fc.constantFrom('', '/', '/ready', '/infer', '/versions/1/infer', '/versions/2'))
    .map(([model, rest]) => `/v2/models/${model}${rest}`),
  fc.constantFrom('/v2', '/v2/', '/v2/health/live', '/v2/health/ready', '/v2/repository/index'),
)
const contentType = fc.oneof(
  { weight: 5, arbitrary: fc.constant('application/json') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      undefined,
      '',
      'json',
      'text/plain',
      'application/json;',
      'application/json; charset=x',
    ),
  },
  { weight: 1, arbitrary: fc.stringMatching(/^[ -~]{0,30}$/).map((text) => text.trim()) },
)
const numbers = fc.array(fc.oneof(fc.integer(), fc.double(), fc.constant(null)), { maxLength: 4 })
const body = fc.oneof(
  fc.constantFrom(
    '{"x":[1,2,3]}',
    '{"instances":[{"x":[1,2,3]},{}]}',
    '',
    '{"x":[1,2,3],"model_version":"2"}',
    '{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
    '{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2]}],"id":"7"}',
  ),
  fc
    .record({ x: fc.oneof(numbers, fc.array(numbers, { maxLength: 3 })) })
    .map((input) => JSON.stringify(input)),
  fc.json({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc.uint8Array({ maxLength: 40 }),
)

test('every adapter gives the same answer to the same request, whatever it is', async () => {
  await fc.assert(
    fc.asyncProperty(path, contentType, body, fc.boolean(), async (path, contentType, body, isPost) => {
      const headers = contentType === undefined ? {} : { 'content-type': contentType }
      const [first, ...others] = await answersTo(path, isPost ? { headers, body } : {})
      for (const other of others) expect(other).toEqual(first)
    }),
    { numRuns: 300 },
  )
})
