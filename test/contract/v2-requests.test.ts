import { gunzipSync, inflateSync } from 'node:zlib'
import { createServing, ServingError } from 'mlserving'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PredictOptions } from '../../src/prediction.js'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, type Answer } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel, loopModel } from '../onnx/models.js'
import { errorOf, float32Bytes, infer, inferBinary, partsOf } from '../v2/client.js'
import { hosts, type Mounting } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()
let serving: AnyServing
const logger = quietLogger()

beforeAll(async () => {
  writeInto(folder, 'm/1/model.onnx', identityModel({ shape: ['batch', 'n'] }))
  writeInto(folder, 'slow/1/model.onnx', loopModel({ ms: 300 }))
  writeInto(folder, 'slow/model.json', { placement: 'thread', batching: false, instances: 1 })
  serving = asAny(createServing({ repository: folder, logger }))
  await serving.ready()
})
afterAll(() => serving.close())

const request = { inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] }] }

/** A serving whose every inference is what `infer` does. */
function withInfer(own: AnyServing['infer']): AnyServing {
  return Object.create(serving, { infer: { value: own } }) as AnyServing
}

describe.each(hosts)('$name', ({ start }) => {
  async function optionsOf(parameters: object, mounting: Mounting = {}): Promise<PredictOptions | undefined> {
    let given: PredictOptions | undefined
    const watched = withInfer((model, asked, options) => {
      given = options
      return serving.infer(model, asked, options)
    })
    await using host = await start(watched, mounting)
    const answer = await infer(host.origin, 'm', { ...request, parameters })
    expect(answer.status).toBe(200)
    return given
  }

  test.each([
    [{ priority: 1 }, { priority: 'high' }],
    [{ priority: 2 }, { priority: 'normal' }],
    [{ priority: 9 }, { priority: 'low' }],
    [{ timeout: 2_000_000 }, { timeoutMs: 2000 }],
    [{ timeout: 60_000_001, own: 'word', other: true }, { timeoutMs: 60_001 }],
  ])('takes %j as %j', async (parameters, expected) => {
    expect(await optionsOf(parameters)).toMatchObject(expected)
  })

  test('who has no time left, or hangs up, leaves the queue, and the next is answered', async () => {
    await using host = await start(serving)
    const slow = { inputs: [{ name: 'x', shape: [1, 4], datatype: 'FP32', data: [1, 2, 3, 4] }] }
    const queued = async () => {
      const { text } = await ask(host.origin, '/metrics')
      return Number(/^model_queue_rows{model="slow"[^}]*} (\d+)$/m.exec(text)?.[1])
    }
    const runs = async () => {
      const { text } = await ask(host.origin, '/v2/models/slow/stats')
      const { model_stats: stats } = JSON.parse(text) as { model_stats: { execution_count: number }[] }
      return stats[0]?.execution_count ?? 0
    }
    const before = await runs()
    const running = infer(host.origin, 'slow', slow)
    const hurried = infer(host.origin, 'slow', { ...slow, parameters: { timeout: 50_000 } })
    const gone = new AbortController()
    const many = 30
    const hungUp = Array.from({ length: many }, () =>
      fetch(`${host.origin}/v2/models/slow/infer`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(slow),
        signal: gone.signal,
      }),
    )
    const outcomes = Promise.allSettled(hungUp)
    await expect.poll(queued).toBeGreaterThan(0)
    gone.abort()
    expect((await outcomes).some((outcome) => outcome.status === 'rejected')).toBe(true)
    const { status } = await hurried
    // It waits in vain, or is told so at once where runs have been measured.
    expect([503, 504]).toContain(status)
    await expect.poll(queued).toBe(0)
    expect((await running).status).toBe(200)
    expect((await infer(host.origin, 'slow', slow)).status).toBe(200)
    expect((await runs()) - before).toBeLessThan(many)
  })

  test('takes 0 as the default', async () => {
    const options = await optionsOf({ priority: 0, timeout: 0, sequence_id: 0, sequence_start: false })
    expect(options).not.toHaveProperty('priority')
    expect(options).not.toHaveProperty('timeoutMs')
  })

  test('what the host says wins over what the request says', async () => {
    const options = await optionsOf(
      { priority: 1, timeout: 1_000_000 },
      { context: () => ({ priority: 'low', timeoutMs: 9000, tenant: 'acme', requestId: 'r1' }) },
    )
    expect(options).toMatchObject({ priority: 'low', timeoutMs: 9000, tenant: 'acme', requestId: 'r1' })
  })

  test('what the host says of who is asking, and throws, is its own affair', async () => {
    await using host = await start(serving, {
      context: () => {
        throw Object.assign(new Error('who are you?'), { status: 403 })
      },
    })
    const answer = await infer(host.origin, 'm', request)
    expect(answer.status).toBe(403)
    expect(JSON.parse(answer.text)).toMatchObject({ handler: 'own', message: 'who are you?' })
    expect((await ask(host.origin, '/v2/models/m')).status).toBe(200)
  })

  test('errors go to the host where it wants them', async () => {
    await using host = await start(serving, { errors: 'host' })
    const answer = await infer(host.origin, 'none', request)
    expect(JSON.parse(answer.text)).toMatchObject({ handler: 'own', code: 'MODEL_NOT_FOUND' })
  })

  test('says nothing of a defect but where to look', async () => {
    await using host = await start(withInfer(() => Promise.reject(new Error('the password is swordfish'))))
    const answer = await infer(host.origin, 'm', request, { 'x-request-id': 'r-7' })
    expect(answer.status).toBe(500)
    expect(answer.headers['x-request-id']).toBe('r-7')
    expect(answer.text).not.toContain('swordfish')
    expect(logger.entries.at(-1)).toMatchObject({ level: 'error', message: 'the password is swordfish' })
  })

  test('says when to come again where there is too much to do', async () => {
    const headers = { 'retry-after': '3' }
    const busy = withInfer(() => Promise.reject(new ServingError('QUEUE_FULL', 'm is busy', { headers })))
    await using host = await start(busy)
    const answer = await infer(host.origin, 'm', request)
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBe('3')
    expect(errorOf(answer)).toBe('m is busy')
  })

  test('mounts the protocol alone, or all but it', async () => {
    await using alone = await start(serving, { routes: ['v2'] })
    expect((await ask(alone.origin, '/v2')).status).toBe(200)
    expect((await ask(alone.origin, '/health')).status).toBe(404)
    await using without = await start(serving, { routes: ['health', 'predict'] })
    expect((await ask(without.origin, '/v2')).status).toBe(404)
  })

  test('refuses bodies beyond the limit, be they JSON or raw bytes', async () => {
    await using host = await start(serving, { maxBodyBytes: 200 })
    const long = Array<number>(100).fill(1)
    const inputs = [{ name: 'x', shape: [1, 100], datatype: 'FP32' }]
    const json = await infer(host.origin, 'm', { inputs: [{ ...inputs[0], data: long }] })
    const asked = { inputs: [{ ...inputs[0], parameters: { binary_data_size: 400 } }] }
    const binary = await inferBinary(host.origin, 'm', asked, [float32Bytes(...long)])
    for (const answer of [json, binary]) {
      expect(answer.status).toBe(413)
      expect(errorOf(answer)).toEqual(expect.stringContaining('200 bytes'))
    }
  })

  describe('compression', () => {
    const large = (parameters = {}) => ({
      parameters,
      inputs: [{ name: 'x', shape: [1, 600], datatype: 'FP32', data: Array(600).fill(1) }],
    })
    const asking = async (encoding: string, asked: object = large()): Promise<Answer> => {
      await using host = await start(serving)
      return await infer(host.origin, 'm', asked, { 'accept-encoding': encoding })
    }

    test.each([
      ['gzip', 'gzip', gunzipSync],
      ['deflate', 'deflate', inflateSync],
      ['deflate;q=0.5, gzip;q=0.9', 'gzip', gunzipSync],
      ['gzip;q=0.1, deflate', 'deflate', inflateSync],
      ['*', 'gzip', gunzipSync],
      ['br, gzip', 'gzip', gunzipSync],
    ])('answers a caller who accepts %s with %s', async (accepted, encoding, inflate) => {
      const answer = await asking(accepted)
      expect(answer.headers).toMatchObject({ 'content-encoding': encoding, vary: 'accept-encoding' })
      expect(partsOf({ ...answer, bytes: inflate(answer.bytes) }).head.outputs[0]?.data).toHaveLength(600)
    })

    test.each(['identity', 'br', 'gzip;q=0', 'gzip;q=0.4, identity', ''])(
      'leaves answers to %j as they are',
      async (accepted) => {
        const answer = await asking(accepted)
        expect(answer.headers).not.toHaveProperty('content-encoding')
        expect(partsOf(answer).head.outputs[0]?.data).toHaveLength(600)
      },
    )

    test('compresses JSON and raw bytes together', async () => {
      const answer = await asking('gzip', large({ binary_data_output: true }))
      expect(answer.headers['content-encoding']).toBe('gzip')
      expect(partsOf({ ...answer, bytes: gunzipSync(answer.bytes) }).raws.y).toHaveLength(2400)
    })

    test('leaves small answers as they are', async () => {
      expect((await asking('gzip', request)).headers).not.toHaveProperty('content-encoding')
    })
  })
})
