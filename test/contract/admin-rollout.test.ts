import { createServing, type ModelChange } from 'mlserving'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hosts } from './hosts.js'
import { asAny } from './serving.js'

const token = 'correct-horse-battery'
const bearer = { authorization: `Bearer ${token}` }
const model = '/admin/models/m'

let serving: AnyServing
let changes: ModelChange[]

beforeEach(async () => {
  const repository = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/model.json': { current: '1', placement: 'inline' },
  })
  serving = asAny(createServing({ repository, logger: quietLogger() }))
  onTestFinished(() => serving.close())
  await serving.ready()
  changes = []
  serving.models.onChange((change) => changes.push(change))
})

const told = () => changes.map(({ actor, action, to, result }) => [actor, action, to, result].join(' '))

describe.each(hosts)('$name', ({ start }) => {
  const started = () => start(serving, { admin: { token } })

  test('a label is set, moved to nothing and told', async () => {
    await using host = await started()
    const set = await ask(host.origin, `${model}/labels/stable`, {
      method: 'PUT',
      headers: { ...bearer, 'content-type': 'application/json' },
      body: '{"version":"2"}',
    })
    expect([set.status, json(set).labels]).toEqual([200, { stable: '2' }])
    const removed = await ask(host.origin, `${model}/labels/stable`, { method: 'DELETE', headers: bearer })
    expect([removed.status, json(removed).labels]).toEqual([200, undefined])
    expect(told()).toEqual(['token label 2 success', 'token label  success'])
  })

  test('a version in quarantine can not be made the one that serves, until it is released', async () => {
    await using host = await started()
    const reason = { reason: 'wrong answers' }
    const put = await post(host.origin, `${model}/versions/2/quarantine`, reason, bearer)
    expect(json(put).versions).toMatchObject([
      { version: '2', quarantined: 'wrong answers' },
      { version: '1' },
    ])
    const refused = await post(host.origin, `${model}/switch`, { version: '2' }, bearer)
    expect([refused.status, json(refused).code]).toEqual([409, 'CONFLICT'])
    expect((await post(host.origin, `${model}/versions/2/release`, {}, bearer)).status).toBe(200)
    expect((await post(host.origin, `${model}/switch`, { version: '2' }, bearer)).status).toBe(200)
    expect((await post(host.origin, `${model}/versions/2/quarantine`, {}, bearer)).status).toBe(400)
  })

  test('a rollout is started, looked at and aborted', async () => {
    await using host = await started()
    const none = await ask(host.origin, `${model}/rollout`, { headers: bearer })
    expect([none.status, json(none).code]).toEqual([409, 'CONFLICT'])
    const begun = await post(host.origin, `${model}/rollout`, { version: '2', steps: [10, 100] }, bearer)
    expect(json(begun)).toMatchObject({ version: '2', phase: 'running', step: 1, percent: 10 })
    expect(json(await ask(host.origin, `${model}/rollout`, { headers: bearer }))).toMatchObject({ steps: 2 })
    const ended = await post(host.origin, `${model}/rollout/abort`, { reason: 'not today' }, bearer)
    expect(json(ended)).toMatchObject({ phase: 'aborted' })
    const wrong = await post(host.origin, `${model}/rollout`, { version: '2', steps: [100, 5] }, bearer)
    expect([wrong.status, json(wrong).code]).toEqual([400, 'INVALID_REQUEST'])
  })

  test('a version is validated by the cases of a request, and what is no case is named', async () => {
    await using host = await started()
    const path = `${model}/versions/2/validate`
    const input = { x: [1, 2, 3] }
    const cases = [
      { input, expected: [1, 2, 3] },
      { input, expected: [1, 2, 4] },
    ]
    expect(json(await post(host.origin, path, { cases }, bearer))).toMatchObject({
      cases: 2,
      passed: 1,
      accuracy: 0.5,
    })
    const wrong = await post(host.origin, path, { cases: [{ input }] }, bearer)
    expect([wrong.status, json(wrong).code]).toEqual([400, 'INVALID_REQUEST'])
  })

  test('a switch and a rollout are held to the cases of the request, which can be no file of the server', async () => {
    await using host = await started()
    const cases = (expected: number[]) => ({ cases: [{ input: { x: [1, 2, 3] }, expected }] })
    for (const path of ['switch', 'rollout']) {
      const change = (validate: unknown) =>
        post(host.origin, `${model}/${path}`, { version: '2', validate }, bearer)
      const failed = await change(cases([1, 2, 4]))
      expect([failed.status, json(failed).code]).toEqual([422, 'VALIDATION_FAILED'])
      const file = await change({ cases: '/etc/passwd' })
      expect([file.status, json(file).code]).toEqual([400, 'INVALID_REQUEST'])
      expect(file.text).toContain('list of cases')
      const passed = await change(cases([1, 2, 3]))
      expect(passed.status).toBe(200)
      if (path === 'switch') await post(host.origin, `${model}/rollback`, {}, bearer)
    }
  })

  test('options that are none of JSON are refused, whatever they look like', async () => {
    await using host = await started()
    const body = { cases: [{ input: { x: [1, 2, 3] }, expected: [1, 2, 3] }], signal: { aborted: false } }
    const answer = await post(host.origin, `${model}/versions/2/validate`, body, bearer)
    expect([answer.status, json(answer).code]).toEqual([400, 'INVALID_REQUEST'])
  })

  test('none of it is there for who has no token', async () => {
    await using host = await started()
    const answers = await Promise.all([
      post(host.origin, `${model}/rollout`, { version: '2' }),
      ask(host.origin, `${model}/rollout`, {}),
      post(host.origin, `${model}/versions/1/quarantine`, { reason: 'mine' }),
      post(host.origin, `${model}/versions/1/validate`, { cases: [] }),
      ask(host.origin, `${model}/labels/stable`, { method: 'DELETE' }),
    ])
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
    expect(changes).toEqual([])
  })
})
