import { createServing, onnx, type ModelChange } from 'mlserving'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { ask, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { errorOf, infer } from '../v2/client.js'
import { hosts, ownNotFound } from './hosts.js'
import { asAny } from './serving.js'

const token = 'correct-horse-battery'
const headers = { authorization: `Bearer ${token}` }
const request = { inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] }] }

let serving: AnyServing
let changes: ModelChange[]

beforeEach(async () => {
  const repository = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/model.json': { placement: 'inline' },
    'broken/1/model.onnx': 'no model',
    'broken/model.json': { lazy: true },
  })
  const lazy = onnx({ source: `${repository}/m`, placement: 'inline', lazy: true })
  serving = asAny(createServing({ repository, models: { lazy }, logger: quietLogger() }))
  onTestFinished(() => serving.close())
  await serving.ready()
  changes = []
  serving.models.onChange((change) => changes.push(change))
})

const index = async (origin: string, body: unknown = '') => {
  const answer = await post(origin, '/v2/repository/index', body, headers)
  expect(answer.status).toBe(200)
  return JSON.parse(answer.text) as unknown
}
const change = (origin: string, model: string, action: string, body: unknown = '') =>
  post(origin, `/v2/repository/models/${model}/${action}`, body, headers)

describe.each(hosts)('$name', ({ start }) => {
  test('is not there unless the host says who may use it', async () => {
    await using host = await start(serving)
    for (const path of ['index', 'models/m/load', 'models/m/unload']) {
      const answer = await post(host.origin, `/v2/repository/${path}`, {}, headers)
      expect([answer.status, answer.text]).toEqual([404, ownNotFound])
    }
    expect((await ask(host.origin, '/v2')).text).not.toContain('model_repository')
    expect(changes).toEqual([])
  })

  test('refuses all others', async () => {
    await using host = await start(serving, { admin: { token } })
    for (const path of ['index', 'models/m/load', 'models/m/unload']) {
      const answer = await post(host.origin, `/v2/repository/${path}`, '')
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="mlserving"')
      expect(errorOf(answer)).toEqual(expect.stringContaining('token'))
    }
    expect((await ask(host.origin, '/v2')).text).toContain('model_repository')
    expect(changes).toEqual([])
  })

  test('the index has every version, or those that can answer', async () => {
    await using host = await start(serving, { admin: { token } })
    const ready = { name: 'm', version: '2', state: 'READY', reason: '' }
    expect(await index(host.origin)).toEqual([
      { name: 'broken', version: '1', state: 'UNAVAILABLE', reason: 'not loaded' },
      { name: 'lazy', version: '2', state: 'UNAVAILABLE', reason: 'not loaded' },
      { name: 'lazy', version: '1', state: 'UNAVAILABLE', reason: 'not loaded' },
      ready,
      { name: 'm', version: '1', state: 'UNAVAILABLE', reason: 'not loaded' },
    ])
    expect(await index(host.origin, { ready: true })).toEqual([ready])
    expect(await index(host.origin, {})).toHaveLength(5)
    expect(await index(host.origin, { ready: null })).toHaveLength(5)
    const wrong = await post(host.origin, '/v2/repository/index', { ready: 1 }, headers)
    expect([wrong.status, errorOf(wrong)]).toEqual([400, 'ready must be true or false; got 1.'])
  })

  test('unload frees a model, and load has it serve again', async () => {
    await using host = await start(serving, { admin: { token } })
    const unloaded = await change(host.origin, 'm', 'unload', { parameters: { unload_dependents: false } })
    expect([unloaded.status, unloaded.text]).toEqual([200, '{}'])
    expect(await index(host.origin, { ready: true })).toEqual([])
    expect((await ask(host.origin, '/v2/models/m/ready')).status).toBe(503)
    const refused = await infer(host.origin, 'm', request)
    expect(refused.status).toBe(503)
    expect(refused.headers['retry-after']).toBeDefined()

    const loaded = await change(host.origin, 'm', 'load')
    expect([loaded.status, loaded.text]).toEqual([200, '{}'])
    expect((await infer(host.origin, 'm', request)).status).toBe(200)
    expect((await change(host.origin, 'm', 'load', { parameters: null })).status).toBe(200)
    expect(changes).toMatchObject([
      { action: 'unload', from: '2', actor: 'token', result: 'success' },
      { action: 'load', to: '2', actor: 'token', result: 'success' },
      { action: 'load', to: '2', actor: 'token', result: 'success' },
    ])
  })

  test('a lazy model is ready to be asked, and loaded by load', async () => {
    await using host = await start(serving, { admin: { token } })
    expect((await ask(host.origin, '/v2/models/lazy/ready')).status).toBe(200)
    expect((await change(host.origin, 'lazy', 'load')).status).toBe(200)
    expect(await index(host.origin, { ready: true })).toMatchObject([{ name: 'lazy' }, { name: 'm' }])
  })

  test.each([
    ['config', { config: '{}' }],
    ['files', { 'file:1/model.onnx': 'AAAA' }],
  ])('load refuses %s', async (_what, parameters) => {
    await using host = await start(serving, { admin: { token } })
    const answer = await change(host.origin, 'lazy', 'load', { parameters })
    expect(answer.status).toBe(400)
    expect(errorOf(answer)).toEqual(expect.stringContaining(Object.keys(parameters)[0] ?? ''))
    expect(changes).toEqual([])
  })

  test('says why a load failed', async () => {
    await using host = await start(serving, { admin: { token } })
    const answer = await change(host.origin, 'broken', 'load')
    expect(answer.status).toBe(500)
    expect(errorOf(answer)).toEqual(expect.stringContaining('broken/1/model.onnx'))
    expect((await change(host.origin, 'none', 'load')).status).toBe(404)
    expect((await change(host.origin, 'none', 'unload')).status).toBe(404)
  })

  test('JSON that is sent as bytes is read', async () => {
    await using host = await start(serving, { admin: { token } })
    const bytes = { ...headers, 'content-type': 'application/octet-stream' }
    const answer = await post(host.origin, '/v2/repository/models/m/load', { parameters: {} }, bytes)
    expect(answer.status).toBe(200)
    const refused = { parameters: { config: '{}' } }
    expect((await post(host.origin, '/v2/repository/models/m/load', refused, bytes)).status).toBe(400)
  })

  test('a form of a page elsewhere changes nothing', async () => {
    await using host = await start(serving, { admin: { token } })
    const answer = await post(host.origin, '/v2/repository/models/m/unload', 'a=b', {
      ...headers,
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(answer.status).toBe(415)
    expect(changes).toEqual([])
  })
})
