import { createServing, type ModelChange } from 'mlserving'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { ask, json, Line, post, type Question } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hasDots, headerOf, hosts, ownNotFound } from './hosts.js'
import { asAny } from './serving.js'

const token = 'correct-horse-battery'
const bearer = { authorization: `Bearer ${token}` }

let serving: AnyServing
let changes: ModelChange[]
const logger = quietLogger()

beforeEach(async () => {
  const repository = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/3/model.onnx': 'no model',
    'm/model.json': { current: '1', placement: 'inline' },
  })
  serving = asAny(createServing({ repository, logger }))
  onTestFinished(() => serving.close())
  await serving.ready()
  changes = []
  serving.models.onChange((change) => changes.push(change))
})

const paths = {
  load: '/admin/models/m/versions/2/load',
  unload: '/admin/models/m/versions/2/unload',
  switch: '/admin/models/m/switch',
  rollback: '/admin/models/m/rollback',
}

function admin(origin: string, path: string, body?: unknown, headers: Question['headers'] = {}) {
  return body === undefined
    ? ask(origin, path, { method: 'POST', headers: { ...bearer, ...headers } })
    : post(origin, path, body, { ...bearer, ...(headers as Record<string, string>) })
}

const statesOf = (answer: Record<string, unknown>) =>
  Object.fromEntries(
    (answer.versions as { version: string; state: string }[]).map(({ version, state }) => [version, state]),
  )

describe.each(hosts)('$name', ({ start, resolvesDots = false }) => {
  test('there are no admin routes unless the host says who may use them', async () => {
    await using host = await start(serving)
    for (const path of Object.values(paths)) {
      const answer = await admin(host.origin, path, { version: '2' })
      expect([answer.status, answer.text]).toEqual([404, ownNotFound])
    }
    expect(changes).toEqual([])
  })

  test('load, switch, rollback and unload do so, and answer what the state is', async () => {
    await using host = await start(serving, { admin: { token } })
    const loaded = await admin(host.origin, paths.load)
    expect(loaded.status).toBe(200)
    expect(json(loaded)).toMatchObject({ name: 'm', current: '1' })
    expect(statesOf(json(loaded))).toEqual({ 1: 'ready', 2: 'ready', 3: 'registered' })
    expect(json(await admin(host.origin, paths.switch, { version: '2' }))).toMatchObject({ current: '2' })
    const back = await admin(host.origin, paths.rollback)
    expect(json(back)).toEqual({ version: '1', from: '2', reloaded: false })
    const unloaded = await admin(host.origin, paths.unload)
    expect(statesOf(json(unloaded))).toEqual({ 1: 'ready', 2: 'unloaded', 3: 'registered' })
    expect(unloaded.headers).toMatchObject({ 'cache-control': 'no-store' })
  })

  test('every change is told with the owner of the token, the reason and the id of the request', async () => {
    await using host = await start(serving, {
      admin: { token: { ann: 'the-token-of-ann-1', bob: 'the-token-of-bob-1' } },
    })
    const as = (owner: string, path: string, body: object) =>
      post(host.origin, path, body, {
        authorization: `bearer the-token-of-${owner}-1`,
        'x-request-id': `r-${owner}`,
      })
    await as('ann', paths.switch, { version: '2', reason: 'better' })
    await as('bob', paths.rollback, {})
    await as('bob', paths.switch, { version: '3' })
    expect(changes).toMatchObject([
      {
        actor: 'ann',
        requestId: 'r-ann',
        action: 'switch',
        model: 'm',
        from: '1',
        to: '2',
        reason: 'better',
        result: 'success',
      },
      { actor: 'bob', requestId: 'r-bob', action: 'rollback', from: '2', to: '1', result: 'success' },
      { actor: 'bob', requestId: 'r-bob', action: 'switch', from: '1', to: '3', result: 'failed' },
    ])
  })

  test('authorize says who is asking, by the request of the framework, and refuses with 403', async () => {
    await using host = await start(serving, {
      admin: {
        authorize: async (request) => headerOf(request, 'x-user'),
      },
    })
    const known = await ask(host.origin, paths.load, { method: 'POST', headers: { 'x-user': 'ann' } })
    const unknown = await ask(host.origin, paths.load, { method: 'POST' })
    expect(known.status).toBe(200)
    expect(changes).toMatchObject([{ actor: 'ann' }])
    expect(unknown.status).toBe(403)
    expect(json(unknown)).toMatchObject({ code: 'FORBIDDEN' })
  })

  test('what authorize throws goes to the host, and a yes without a name is no name', async () => {
    await using host = await start(serving, {
      admin: {
        authorize: () => {
          throw new Error('the directory is down')
        },
      },
      also: [{ prefix: '/yes', admin: { authorize: () => true as unknown as string } }],
    })
    const thrown = await ask(host.origin, paths.load, { method: 'POST' })
    expect(json(thrown)).toMatchObject({ handler: 'own', message: 'the directory is down' })
    const yes = await ask(host.origin, `/yes${paths.load}`, { method: 'POST' })
    expect(yes.status).toBe(500)
    expect(changes).toEqual([])
  })

  test.each([
    ['no token', {}, 'Bearer realm="mlserving"'],
    [
      'a wrong token',
      { authorization: 'Bearer wrong-horse-battery!' },
      'Bearer realm="mlserving", error="invalid_token"',
    ],
    [
      'a part of the token',
      { authorization: `Bearer ${token.slice(0, -1)}` },
      'Bearer realm="mlserving", error="invalid_token"',
    ],
    [
      'the token and more',
      { authorization: `Bearer ${token}x` },
      'Bearer realm="mlserving", error="invalid_token"',
    ],
    ['another scheme', { authorization: `Basic ${token}` }, 'Bearer realm="mlserving"'],
    ['the token alone', { authorization: token }, 'Bearer realm="mlserving"'],
    ['two tokens', { authorization: `Bearer ${token} ${token}` }, 'Bearer realm="mlserving"'],
    [
      'a token in another header',
      { 'x-authorization': `Bearer ${token}`, cookie: `token=${token}` },
      'Bearer realm="mlserving"',
    ],
  ])('%s is refused with 401, and changes nothing', async (_, headers, challenge) => {
    await using host = await start(serving, { admin: { token } })
    for (const path of Object.values(paths)) {
      const answer = await post(host.origin, path, { version: '2' }, headers)
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toBe(challenge)
      expect(answer.headers['content-type']).toMatch('application/problem+json')
      expect(json(answer)).toMatchObject({ code: 'UNAUTHORIZED' })
      expect(answer.text).not.toContain(token)
    }
    expect(changes).toEqual([])
    expect(serving.models.get('m').current).toBe('1')
  })

  test('a token in the query or the body counts for nothing', async () => {
    await using host = await start(serving, { admin: { token } })
    const query = `?token=${token}&access_token=${token}&authorization=Bearer%20${token}`
    for (const path of Object.values(paths)) {
      const answer = await post(host.origin, `${path}${query}`, { version: '2', token })
      expect(answer.status).toBe(401)
    }
  })

  test('who may not is refused before the body is read, be it broken or endless', async () => {
    await using host = await start(serving, { admin: { token }, maxBodyBytes: 100 })
    expect((await post(host.origin, paths.switch, '{"version"')).status).toBe(401)
    using line = await Line.dial(host.origin)
    line.write(
      `POST ${paths.switch} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n`,
    )
    expect((await line.answer()).status).toBe(401)
  })

  test.each([
    ['a path', { source: '/etc/passwd' }, 'source'],
    ['an address', { url: 'http://169.254.169.254/' }, 'url'],
    ['configuration', { placement: 'process', options: {} }, 'placement'],
    ['a prototype', '{"__proto__": {"source": "/etc"}}', '__proto__'],
    ['activation', { activate: true }, 'activate'],
  ])('a load takes no %s of the request', async (_, body, named) => {
    await using host = await start(serving, { admin: { token } })
    const answer = await admin(host.origin, paths.load, body)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_REQUEST', detail: expect.stringContaining(named) })
    expect(changes).toEqual([])
  })

  test.each([
    ['{}', 'version'],
    ['{"version": 2}', 'version'],
    ['{"version": "../../m/2"}', 'version'],
    ['{"version": "latest"}', 'version'],
    ['{"version": "2", "reason": ""}', 'reason'],
    ['{"version": "2", "actor": "root"}', 'actor'],
    ['{"version": "2"', 'JSON'],
    ['[]', 'object'],
    ['null', 'object'],
  ])('a switch refuses the body %s, and says what is wrong', async (body, named) => {
    await using host = await start(serving, { admin: { token } })
    const answer = await admin(host.origin, paths.switch, body)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_REQUEST', detail: expect.stringContaining(named) })
    expect(changes).toEqual([])
  })

  test.each([
    '..',
    '..%2f..%2fm%2f2',
    '..%5c2',
    '%2e%2e',
    '2%00',
    '.git',
    'latest',
    '2%0d%0ax-injected:%201',
    'v'.repeat(129),
    'constructor%2f',
  ])('%j can name no version', async (version) => {
    if (resolvesDots && hasDots(version)) return
    await using host = await start(serving, { admin: { token } })
    const answer = await admin(host.origin, `/admin/models/m/versions/${version}/load`)
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ code: 'INVALID_REQUEST' })
    expect(changes).toEqual([])
  })

  test('a version or a model that is not there is a 404, whatever its name', async () => {
    await using host = await start(serving, { admin: { token } })
    for (const version of ['9', 'constructor', 'toString']) {
      const answer = await admin(host.origin, `/admin/models/m/versions/${version}/load`)
      expect([answer.status, json(answer).code]).toEqual([404, 'VERSION_NOT_FOUND'])
    }
    for (const model of ['n', 'constructor']) {
      const answer = await admin(host.origin, `/admin/models/${model}/rollback`)
      expect([answer.status, json(answer).code]).toEqual([404, 'MODEL_NOT_FOUND'])
    }
  })

  test('a version that can not be loaded tells the operator why, and what served goes on', async () => {
    await using host = await start(serving, { admin: { token } })
    const answer = await admin(host.origin, paths.switch, { version: '3' })
    expect(answer.status).toBe(500)
    expect(json(answer)).toMatchObject({
      code: 'INVALID_MODEL',
      detail: expect.stringContaining('could not be loaded'),
    })
    const predicted = await post(host.origin, '/models/m/predict', { x: [1, 2, 3] })
    expect(json(predicted)).toMatchObject({ model_version: '1' })
  })

  test('what does not fit the state is a 409', async () => {
    await using host = await start(serving, { admin: { token } })
    expect((await admin(host.origin, paths.rollback)).status).toBe(409)
    expect((await admin(host.origin, '/admin/models/m/versions/1/unload')).status).toBe(409)
  })

  test('a body that is too large, not JSON or a form is refused', async () => {
    await using host = await start(serving, { admin: { token }, maxBodyBytes: 100 })
    const large = await admin(host.origin, paths.load, { reason: 'x'.repeat(200) })
    const text = await admin(host.origin, paths.load, '{}', { 'content-type': 'text/plain' })
    const form = await admin(host.origin, paths.switch, 'version=2', {
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect([large, text, form].map(({ status }) => status)).toEqual([413, 415, 415])
    expect(changes).toEqual([])
  })

  test('another method is no admin route, whatever headers say', async () => {
    await using host = await start(serving, { admin: { token } })
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await ask(host.origin, paths.load, {
        method,
        headers: { ...bearer, 'x-http-method-override': 'POST', 'x-http-method': 'POST' },
      })
      expect(answer.status).toBe(404)
    }
    expect((await ask(host.origin, `${paths.load}?_method=POST`, { headers: bearer })).status).toBe(404)
    expect(changes).toEqual([])
  })

  test('the group can be mounted alone, and left out', async () => {
    await using host = await start(serving, {
      prefix: '/ops',
      admin: { token },
      routes: ['admin'],
      also: [{ prefix: '/public', admin: { token }, routes: ['predict'] }],
    })
    expect((await admin(host.origin, `/ops${paths.load}`)).status).toBe(200)
    expect((await ask(host.origin, '/ops/models')).status).toBe(404)
    expect((await admin(host.origin, `/public${paths.load}`)).status).toBe(404)
  })

  test.each([
    [{ token: 'fifteen-letters' }, /admin: token must have at least 16 characters; got 15/],
    [{ token: '' }, /admin: token must have at least 16/],
    [{ token: {} }, /must name at least one token/],
    [{ token: { ann: 'short' } }, /admin: token\.ann must have at least 16/],
    [{ token: { ann: token, bob: token } }, /the same token under two names/],
    [{ token: 'with spaces in it, and more' }, /without spaces/],
    [{}, /one of authorize and token/],
    [{ token, authorize: () => 'ann' }, /one of authorize and token/],
    [{ tokens: token }, /Did you mean "token"/],
    [{ authorize: 'ann' }, /authorize must be a function/],
  ])('the option %j is refused at once, without a token in the message', async (options: object, message) => {
    const failure: unknown = await start(serving, { admin: options }).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) })
    expect((failure as Error).message).not.toMatch(/short|fifteen|battery/)
  })

  test('routes that ask for admin without saying who may are refused', async () => {
    await expect(start(serving, { routes: ['admin'] })).rejects.toThrow(/needs the option admin/)
  })
})
