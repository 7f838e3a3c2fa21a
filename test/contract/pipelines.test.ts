import { createServing, custom, onnx, pipeline, scored } from 'mlserving'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hosts, type RunningHost } from './hosts.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
let serving: AnyServing

beforeAll(async () => {
  writeInto(folder, 'identity/1/model.onnx', identityModel())
  const source = join(folder, 'identity')
  const most = z.object({ x: z.array(z.number().max(9)) })
  serving = asAny(
    createServing({
      repository: folder,
      logger: quietLogger(),
      models: {
        checked: onnx({ source, placement: 'inline', input: most }),
        sure: onnx({ source, placement: 'inline', decode: () => scored('yes', 0.75) }),
        sureOf: pipeline((x: number[], { predict }) => predict('sure', { x })),
        chained: pipeline(['identity', { model: 'checked', input: (x: number[]) => ({ x }) }, 'sureOf']),
        uncheckedChain: pipeline([{ model: 'identity', input: () => ({ x: [1, 2, 3] }) }]),
      },
    }),
  )
  await serving.ready()
})
afterAll(() => serving.close())

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(() => host[Symbol.asyncDispose]())

  test('a pipeline answers as a model does, in JSON that its first stage checks', async () => {
    const answer = await post(host.origin, '/models/chained/predict', { x: [1, 2, 3] })
    expect(answer.status).toBe(200)
    expect(json(answer)).toEqual({
      request_id: expect.any(String),
      prediction: 'yes',
      confidence: 0.75,
      model_version: '1',
      latency_ms: expect.any(Number),
    })
  })

  test('what its first stage refuses is the caller’s fault, and what a later one refuses is not', async () => {
    const first = await post(host.origin, '/models/chained/predict', { x: [1, 2] })
    expect(first.status).toBe(400)
    expect(json(first)).toMatchObject({
      code: 'INVALID_INPUT',
      detail: expect.stringMatching(/^chained@1: stage identity@1: input "x" expects /),
    })
    const second = await post(host.origin, '/models/chained/predict', { x: [1, 2, 10] })
    expect(second.status).toBe(500)
    expect(json(second)).toMatchObject({ code: 'INFERENCE_FAILED' })
    const each = await post(host.origin, '/models/chained/predict', {
      instances: [{ x: [1, 2, 10] }, { x: [1, 2, 3] }],
    })
    expect(json(each).predictions).toMatchObject([
      { error: { code: 'INFERENCE_FAILED' } },
      { prediction: 'yes' },
    ])
  })

  test('a pipeline whose own code comes first needs a schema, or to say that it is unchecked', async () => {
    const answer = await post(host.origin, '/models/uncheckedChain/predict', { x: [1, 2, 3] })
    expect(answer.status).toBe(403)
    expect(json(answer)).toMatchObject({ code: 'NOT_EXPOSED' })
  })

  test('GET /models shows its stages', async () => {
    const answer = json(await ask(host.origin, '/models/chained'))
    expect(answer.stages).toEqual([{ model: 'identity' }, { model: 'checked' }, { model: 'sureOf' }])
    expect(answer.versions).toMatchObject([{ version: '1', state: 'ready' }])
  })

  test('a pipeline takes the bytes that its first stage takes', async () => {
    const own = createServing({
      models: {
        size: custom({
          accepts: ['image/*'],
          load: () => null,
          run: (_, rows: Uint8Array[]) => rows.map(({ length }) => length),
        }),
        p: pipeline(['size', { model: 'size', input: (size: number) => new Uint8Array(2 * size) }]),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => own.close())
    await using other = await start(asAny(own))
    const answer = await fetch(`${other.origin}/models/p/predict`, {
      method: 'POST',
      headers: { 'content-type': 'image/png' },
      body: new Uint8Array(5),
    })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ prediction: 10 })
  })
})
