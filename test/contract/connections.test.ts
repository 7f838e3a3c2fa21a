import { once } from 'node:events'
import { createServing, float32, onnx } from 'mlserving'
import { join } from 'node:path'
import { beforeAll, beforeEach, afterEach, describe, expect, test, vi } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { json, Line, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny, Gate } from './serving.js'

const folder = temporaryFolder()
const body = '{"x":[1,2,3]}'
const predict = 'POST /models/held/predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'
const health = 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'

beforeAll(() => writeInto(folder, '1/model.onnx', identityModel()))

describe.each(hosts)('$name', ({ start }) => {
  const logger = quietLogger()
  let gate: Gate
  /** The signals of the predictions that wait at the gate. */
  let held: AbortSignal[]
  let arrived: Gate
  let serving: ReturnType<typeof startHeld>
  let host: RunningHost

  function startHeld() {
    const encode = async ({ x }: { x: number[] }, { signal }: { signal: AbortSignal }) => {
      held.push(signal)
      arrived.open()
      await gate.opened
      return { x: float32(x, [1, 3]) }
    }
    return createServing({
      logger,
      models: {
        held: onnx({ source: join(folder, '1/model.onnx'), placement: 'inline', encode, unchecked: true }),
      },
    })
  }

  beforeEach(async () => {
    gate = new Gate()
    arrived = new Gate()
    held = []
    serving = startHeld()
    await serving.ready()
    host = await start(asAny(serving), { maxBodyBytes: 1000 })
  })
  afterEach(async () => {
    gate.open()
    await host[Symbol.asyncDispose]()
    await serving.close()
    expect(logger.entries.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
  })

  async function requestsByStatus(): Promise<Record<string, number>> {
    const metric = await serving.metrics.registry.getSingleMetric('model_requests_total')?.get()
    return Object.fromEntries(
      (metric?.values ?? []).map(({ labels, value }) => [String(labels.status), value]),
    )
  }

  test('a caller who hangs up aborts its prediction', async () => {
    using line = await Line.dial(host.origin)
    line.write(`${predict}content-length: ${body.length}\r\n\r\n${body}`)
    await arrived.opened
    const [signal] = held
    expect(signal?.aborted).toBe(false)
    line.hangUp()
    if (signal?.aborted === false) await once(signal, 'abort')
    gate.open()
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ aborted: 1 }))
  })

  test('a caller who hangs up aborts all of its instances, and nobody else', async () => {
    using leaving = await Line.dial(host.origin)
    using staying = await Line.dial(host.origin)
    staying.write(`${predict}content-length: ${body.length}\r\n\r\n${body}`)
    await arrived.opened
    const instances = `{"instances":[${body},${body}]}`
    leaving.write(`${predict}content-length: ${instances.length}\r\n\r\n${instances}`)
    await vi.waitFor(() => expect(held).toHaveLength(3))
    leaving.hangUp()
    const signal = held[2]
    if (signal?.aborted === false) await once(signal, 'abort')
    gate.open()
    expect((await staying.answer()).status).toBe(200)
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ success: 1, aborted: 2 }))
    expect(held[0]?.aborted).toBe(false)
  })

  test('an answered request does not count as hung up when its connection ends', async () => {
    gate.open()
    using line = await Line.dial(host.origin)
    line.write(`${predict}content-length: ${body.length}\r\n\r\n${body}`)
    expect((await line.answer()).status).toBe(200)
    line.hangUp()
    expect((await post(host.origin, '/models/held/predict', body)).status).toBe(200)
    expect(held.map(({ aborted }) => aborted)).toEqual([false, false])
    expect(await requestsByStatus()).toEqual({ success: 2 })
  })

  test('a caller who hangs up within the body harms nobody', async () => {
    gate.open()
    using line = await Line.dial(host.origin)
    line.write(`${predict}content-length: 100\r\n\r\n{"x":`)
    line.hangUp()
    using chunked = await Line.dial(host.origin)
    chunked.write(`${predict}transfer-encoding: chunked\r\n\r\n5\r\n{"x":\r\n`)
    chunked.hangUp()
    expect((await post(host.origin, '/models/held/predict', body)).status).toBe(200)
    expect(held).toHaveLength(1)
  })

  test('a connection serves one request after another', async () => {
    gate.open()
    using line = await Line.dial(host.origin)
    for (let i = 0; i < 3; i++) {
      line.write(`${predict}content-length: ${body.length}\r\n\r\n${body}`)
      expect((await line.answer()).body).toContain('"prediction":[1,2,3]')
    }
  })

  test('requests that are sent without waiting are answered in their order', async () => {
    gate.open()
    using line = await Line.dial(host.origin)
    line.write(`${predict}content-length: ${body.length}\r\n\r\n${body}${health}`)
    expect((await line.answer()).body).toContain('"prediction":[1,2,3]')
    expect((await line.answer()).body).toContain('"healthy"')
  })

  describe.each([
    ['too large by its content-length', predict, 413],
    ['of a wrong type', predict.replace('application/json', 'text/plain'), 415],
    ['of a malformed type', predict.replace('application/json', 'nonsense'), 415],
    ['of a wrong encoding', `${predict}content-encoding: zstd\r\n`, 415],
    ['too large by its content-length, and compressed', `${predict}content-encoding: gzip\r\n`, 413],
  ])('a body that is refused unread: %s', (_, head, status) => {
    test('is answered before it was sent, and the connection serves the next request after it', async () => {
      using line = await Line.dial(host.origin)
      line.write(`${head}content-length: 200000\r\n\r\n${'x'.repeat(1000)}`)
      expect((await line.answer()).status).toBe(status)
      line.write('x'.repeat(199_000))
      line.write(health)
      expect(await line.answer()).toMatchObject({ status: 200, body: expect.stringContaining('healthy') })
    })
  })

  test('a chunked body that is too large is answered before it ended, and the next request after it', async () => {
    using line = await Line.dial(host.origin)
    const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`
    line.write(`${predict}transfer-encoding: chunked\r\n\r\n${chunk}${chunk}`)
    const answer = await line.answer()
    expect(answer.status).toBe(413)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'BODY_TOO_LARGE' })
    for (let i = 0; i < 100; i++) line.write(chunk)
    line.write(`0\r\n\r\n${health}`)
    expect((await line.answer()).status).toBe(200)
  })

  test('a body that nobody wants is passed over, and the next request is served', async () => {
    using line = await Line.dial(host.origin)
    line.write(health.replace('\r\n\r\n', `\r\ncontent-length: 100000\r\n\r\n${'x'.repeat(100_000)}`))
    expect((await line.answer()).status).toBe(200)
    line.write(health)
    expect((await line.answer()).status).toBe(200)
  })

  test('a caller who asks to continue is told to before its body is read', async () => {
    gate.open()
    using line = await Line.dial(host.origin)
    line.write(`${predict}expect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`)
    await line.receives('HTTP/1.1 100 Continue\r\n\r\n')
    line.write(body)
    expect((await line.answer()).body).toContain('"prediction":[1,2,3]')
  })

  test('a hundred predictions at once have each their own answer', async () => {
    gate.open()
    const rows = Array.from({ length: 100 }, (_, i) => [i, i + 1, i / 2])
    const answers = await Promise.all(rows.map((x) => post(host.origin, '/models/held/predict', { x })))
    expect(answers.map((answer) => json(answer).prediction)).toEqual(rows)
    expect(new Set(answers.map((answer) => json(answer).request_id)).size).toBe(100)
  })
})
