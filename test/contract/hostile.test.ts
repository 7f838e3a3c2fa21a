import { createServing, onnx } from 'mlserving'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { model, node, tensorValue } from '../onnx/writer.js'
import { hasDots, hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
const million = 'm'.repeat(2 ** 20)
const names = ['__proto__', 'constructor', 'toString', '../x', '..\\x', '\u0000', '', million]
let serving: AnyServing

/** `y` is the sum of the inputs `__proto__` and `constructor`. */
function oddlyNamed() {
  const inputs = ['__proto__', 'constructor']
  return model({
    nodes: [node('Add', inputs, ['y'])],
    inputs: inputs.map((name) => tensorValue(name, 'float32', ['batch', 1])),
    outputs: [tensorValue('y', 'float32', ['batch', 1])],
  })
}

beforeAll(async () => {
  writeInto(folder, 'identity/1/model.onnx', identityModel())
  writeInto(folder, 'odd/1/model.onnx', oddlyNamed())
  const strict = z.strictObject({ x: z.array(z.number()) })
  serving = asAny(
    createServing({
      repository: folder,
      models: { strict: onnx({ source: join(folder, 'identity'), placement: 'inline', input: strict }) },
    }),
  )
  await serving.ready()
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start, resolvesDots = false }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  const short = names.map((name) => [name.length > 100 ? 'a megabyte' : JSON.stringify(name), name] as const)

  test.each(short)('a version named %s is not found, and not echoed at length', async (_, version) => {
    const answer = await post(host.origin, '/models/identity/predict', {
      x: [1, 2, 3],
      model_version: version,
    })
    expect([400, 404]).toContain(answer.status)
    expect(answer.text.length).toBeLessThan(1000)
  })

  test.each(short)('an input named %s is refused, and not echoed at length', async (_, name) => {
    const text = `{"x":[1,2,3],${JSON.stringify(name)}:{"polluted":true}}`
    for (const [path, body] of [
      ['/models/identity/predict', text],
      ['/models/identity/predict', `{"input":${text}}`],
      ['/models/strict/predict', text],
      ['/models/strict/predict', `{"input":${text}}`],
    ] as const) {
      const answer = await post(host.origin, path, body)
      expect(answer.status).toBe(400)
      expect(answer.text.length).toBeLessThan(3000)
    }
    const instances = await post(host.origin, '/models/strict/predict', `{"instances":[${text}]}`)
    expect(json(instances)).toMatchObject({ predictions: [{ error: { code: 'INVALID_INPUT' } }] })
    expect(instances.text.length).toBeLessThan(3000)
    const beside = await post(
      host.origin,
      '/models/identity/predict',
      `{"instances":[{"x":[1,2,3]}],${JSON.stringify(name)}:1}`,
    )
    expect(beside.status).toBe(400)
    expect(beside.text.length).toBeLessThan(1000)
  })

  test.each([
    ...['__proto__', 'constructor', '..%2Fx', '..', '%00'].map((name) => [name, name]),
    ['long', 'm'.repeat(10_000)],
  ])('a model or version %s in the path is not found', async (_, name) => {
    if (resolvesDots && hasDots(name)) return
    for (const path of [`/models/${name}/predict`, `/models/identity/versions/${name}/predict`]) {
      const answer = await post(host.origin, path, { x: [1, 2, 3] })
      if (answer.status === 414) continue // Fastify's own answer to what is above its maxParamLength
      expect(answer.status).toBe(404)
      expect(answer.text.length).toBeLessThan(1000)
    }
  })

  test('a model whose inputs are so named is served as any', async () => {
    const answer = await post(host.origin, '/models/odd/predict', '{"__proto__":1,"constructor":2}')
    expect(json(answer)).toMatchObject({ prediction: 3 })
    const missing = await post(host.origin, '/models/odd/predict', '{}')
    expect(json(missing)).toMatchObject({ detail: expect.stringContaining('input "__proto__" is missing') })
  })

  test.each([
    ['lists', `{"x":${'['.repeat(40_000)}${']'.repeat(40_000)}}`],
    ['lists at the top', '['.repeat(40_000) + ']'.repeat(40_000)],
    ['lists that never end', '['.repeat(40_000)],
    ['objects', `${'{"x":'.repeat(40_000)}1${'}'.repeat(40_000)}`],
  ])('40,000 nested %s are refused', async (_, text) => {
    for (const path of ['/models/identity/predict', '/models/strict/predict']) {
      const answer = await post(host.origin, path, text)
      expect(answer.status).toBe(400)
      expect(json(answer)).toMatchObject({
        code: 'INVALID_REQUEST',
        detail: 'the body is nested more than 64 levels deep (maxBodyDepth).',
      })
    }
  })

  test('a body of more elements than the door allows is refused', async () => {
    await using strict = await start(serving, { maxBodyElements: 4, maxBodyDepth: 2 })
    expect((await post(strict.origin, '/models/identity/predict', '{"x":[1,2,3]}')).status).toBe(200)
    const many = await post(strict.origin, '/models/identity/predict', '{"x":[1,2,3,4]}')
    expect(json(many)).toMatchObject({ detail: 'the body has more than 4 elements (maxBodyElements).' })
    const deep = await post(strict.origin, '/models/identity/predict', '{"x":[[1]]}')
    expect(json(deep)).toMatchObject({ detail: expect.stringContaining('2 levels deep (maxBodyDepth)') })
  })

  test('no name that only a caller knows becomes a label of a metric', async () => {
    await post(host.origin, '/models/made-up/predict', { x: [1, 2, 3] })
    await post(host.origin, '/models/identity/versions/made-up/predict', { x: [1, 2, 3] })
    await post(host.origin, '/models/made-up/predict', '{"x":[12345678901234567890]}')
    const { text } = await ask(host.origin, '/metrics')
    expect(text).not.toMatch(/made-up|__proto__|mmmm/)
    expect(text).toMatch(/model_requests_total\{[^}]*model="unknown"/)
    const models = [...text.matchAll(/[{,]model="([^"]*)"/g)].map(([, name]) => name)
    expect(new Set(models)).toEqual(new Set(['identity', 'odd', 'strict', 'unknown']))
  })
})
