import { createServing, type ServingOptions, type Json, type Logger, type OutputSpec } from 'mlserving'
import { float32 } from 'mlserving/client'
import { remote, type RemoteOptions } from 'mlserving/remote'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { quietLogger } from '../models/quiet-logger.js'
import { V2Server, type Fault } from './v2-server.js'

type Options = Partial<RemoteOptions<Json, unknown, OutputSpec, Json>>

const input = { x: [1, 2] }

/** A serving of one remote model `m`. */
function servingOf(options: Options, more: ServingOptions = {}, logger: Logger = quietLogger()) {
  const serving = createServing({
    models: { m: remote({ model: 'm', healthIntervalMs: 0, ...options }) },
    logger,
    ...more,
  })
  onTestFinished(() => serving.close())
  return serving
}

/** Keeps what was warned of. */
function loggerOf(warnings: string[]): Logger {
  return { ...quietLogger(), warn: (_: unknown, message?: string) => void warnings.push(message ?? '') }
}

describe('a remote model', () => {
  it('has its versions, inputs and outputs from its server, and is asked as any other', async () => {
    const server = await V2Server.start(['1', '3'])
    const serving = servingOf({ url: server.url, timeoutMs: 5000 })
    await serving.ready()
    expect(serving.models.get('m')).toMatchObject({
      current: '3',
      inputs: [{ name: 'x', dtype: 'float32', shape: ['', 2] }],
      outputs: [{ name: 'y', dtype: 'float32', shape: ['', 2] }],
      versions: [{ version: '3', state: 'ready', placement: 'remote' }, { version: '1' }],
    })
    const { prediction, meta } = await serving.predict('m', input)
    expect(prediction).toEqual([3, 6])
    expect(meta).toMatchObject({ model: 'm', version: '3', batchRows: 1 })
    const { outputs } = await serving.infer('m', { inputs: { x: float32([1, 2, 3, 4], [2, 2]) } })
    expect(outputs.y).toEqual({ dtype: 'float32', shape: [2, 2], data: Float32Array.of(3, 6, 9, 12) })
    await expect(serving.predict('m', { x: [1] })).rejects.toThrow('m@3: input "x" expects float32 [?, 2]')
    expect(server.asked).toHaveLength(2)
  })

  it('takes code and a task as an artifact does', async () => {
    const server = await V2Server.start(['2'])
    const serving = createServing({
      models: {
        coded: remote({
          url: server.url,
          model: 'm',
          outputs: { y: 'float32' },
          encode: ({ text }: { text: string }) => ({ x: float32([text.length, 0], [1, 2]) }),
          decode: ({ y }) => y.data[0] ?? 0,
          warmUp: [{ text: 'ab' }],
        }),
        task: remote({
          url: server.url,
          model: 'm',
          task: { type: 'classification', output: 'y', classes: ['a', 'b'] },
        }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    expect(server.asked).toHaveLength(1)
    const { prediction } = await serving.predict('coded', { text: 'abc' })
    expect(prediction + 1).toBe(7)
    expect(await serving.predict('task', { x: [0.1, 0.2] })).toMatchObject({ prediction: 'b' })
  })

  it('is one version, asked without its name, where the server names none', async () => {
    const server = await V2Server.start([])
    const serving = servingOf({ url: server.url })
    const { prediction, meta } = await serving.predict('m', input)
    expect(prediction).toEqual([1, 2])
    expect(meta.version).toBe('1')
  })

  it('passes over versions whose names can be none here', async () => {
    const server = await V2Server.start(['1'], { versions: ['', '../x', 'latest', '1', { a: 1 }] })
    const serving = servingOf({ url: server.url })
    await serving.ready()
    expect(serving.models.get('m').versions.map(({ version }) => version)).toEqual(['1'])
    const odd = await V2Server.start(['latest'])
    await expect(servingOf({ url: odd.url }).ready()).rejects.toThrow('such as "latest"; give remoteVersions')
  })

  it('is the one version that is asked for', async () => {
    const server = await V2Server.start(['1', '2', '3'])
    const serving = servingOf({ url: server.url, version: '2' })
    expect((await serving.predict('m', input)).prediction).toEqual([2, 4])
    await expect(serving.predict('m', input, { version: '3' })).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
    })
  })

  it('takes the signature that is given where the server has none', async () => {
    const server = await V2Server.start(['1'], { inputs: undefined, outputs: undefined })
    const silent = servingOf({ url: server.url })
    await expect(silent.ready()).rejects.toThrow('give remote() its signature')
    const signature = {
      inputs: [{ name: 'x', dtype: 'float32', shape: ['batch', 2] }],
      outputs: [{ name: 'y', dtype: 'float32', shape: ['batch', 2] }],
    } as const
    const serving = servingOf({ url: server.url, signature })
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })

  it('of datatypes that nothing here has is refused at its load', async () => {
    const server = await V2Server.start(['1'], { inputs: [{ name: 'x', datatype: 'BF16', shape: [1] }] })
    await expect(servingOf({ url: server.url }).ready()).rejects.toThrow('input "x" is BF16')
  })

  it('is not ready while its server is not, and loads once that is', async () => {
    const server = await V2Server.start()
    server.isReady = false
    const serving = servingOf({ url: server.url })
    await expect(serving.ready()).rejects.toThrow('the remote model is not ready')
    server.isReady = true
    await expect.poll(() => serving.models.get('m').current, { timeout: 5000 }).toBe('1')
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })

  it('asks each request alone, and several at once where batching is asked for', async () => {
    const server = await V2Server.start()
    const alone = servingOf({ url: server.url })
    await alone.ready()
    await Promise.all([1, 2, 3, 4].map((x) => alone.predict('m', { x: [x, x] })))
    expect(server.rows).toEqual([1, 1, 1, 1])
    server.rows.length = 0
    const batched = servingOf({ url: server.url, batching: { maxBatchSize: 4 }, concurrency: 1 })
    await batched.ready()
    const answers = await Promise.all([1, 2, 3, 4].map((x) => batched.predict('m', { x: [x, x] })))
    expect(answers.map(({ prediction }) => prediction)).toEqual([[1, 1], [2, 2], [3, 3], [4, 4]]) // prettier-ignore
    expect(server.rows.length).toBeLessThan(4)
  })

  it('has no more runs under way than its concurrency, and takes no permit', async () => {
    const server = await V2Server.start()
    server.fault = 'none'
    const serving = servingOf({ url: server.url, concurrency: 3 })
    await serving.ready()
    server.fault = 'hang'
    const abort = new AbortController()
    const calls = Array.from({ length: 10 }, () => serving.predict('m', input, { signal: abort.signal }))
    await expect.poll(() => server.asked.length).toBe(3)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(server.asked).toHaveLength(3)
    abort.abort()
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    await expect.poll(() => server.hungUp).toBe(3)
  })

  it('ends its call at the deadline of the request, which the server notices', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url })
    await serving.ready()
    server.fault = 'hang'
    await expect(serving.predict('m', input, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    await expect.poll(() => server.hungUp).toBe(1)
    expect(server.asked).toHaveLength(1)
  })

  it('keeps answers, and computes once for equal requests under way', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url, cache: true })
    await serving.ready()
    await Promise.all([serving.predict('m', input), serving.predict('m', input)])
    expect((await serving.predict('m', input)).meta.cache).toBe('hit')
    expect(server.asked).toHaveLength(1)
  })

  it('is counted in the metrics, failures and all', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url, retries: 0 })
    await serving.predict('m', input)
    server.fault = 'broken'
    await expect(serving.predict('m', input)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    const { body } = await serving.metrics.exposition()
    expect(body).toMatch(/model_requests_total\{.*model_version="1".*status="success".*\} 1/)
    expect(body).toMatch(/model_requests_total\{.*model_version="1".*status="inference_failed".*\} 1/)
  })

  it('ends what is under way when the serving is cut off', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url }, { drainTimeoutMs: 50 })
    await serving.ready()
    server.fault = 'hang'
    const call = serving.predict('m', input)
    await Promise.all([expect(call).rejects.toMatchObject({ code: 'CLOSED' }), serving.close()])
    await expect.poll(() => server.hungUp).toBe(1)
  })
})

describe('versions of a remote model', () => {
  it('are switched, rolled back, and have a canary as any others', async () => {
    const server = await V2Server.start(['1', '2'])
    const serving = servingOf({ url: server.url, current: '1' })
    await serving.ready()
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    await serving.models.canary('m', { version: '2', percent: 100 })
    expect((await serving.predict('m', input)).meta.version).toBe('2')
    await serving.models.endCanary('m')
    await serving.models.switchVersion('m', '2')
    expect((await serving.predict('m', input)).prediction).toEqual([2, 4])
    await serving.models.rollback('m')
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })

  it('that came to the server later are loaded by their names', async () => {
    const server = await V2Server.start(['1'])
    const serving = servingOf({ url: server.url })
    await serving.ready()
    server.versions.push('2')
    await serving.models.switchVersion('m', '2')
    expect((await serving.predict('m', input)).prediction).toEqual([2, 4])
    await expect(serving.models.load('m', '9')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
    await expect(serving.models.load('m', '9', { source: './x.onnx' })).rejects.toMatchObject({
      code: 'CONFLICT',
    })
  })

  it('may be other models on other servers by names of our own', async () => {
    const [old, young] = [await V2Server.start(['4']), await V2Server.start(['5'])]
    const serving = servingOf({
      model: 'm',
      remoteVersions: { a: { urls: [old.url] }, b: { urls: [young.url], version: '5' } },
      current: 'a',
    })
    expect((await serving.predict('m', input)).prediction).toEqual([4, 8])
    await serving.models.switchVersion('m', 'b')
    expect((await serving.predict('m', input)).prediction).toEqual([5, 10])
  })

  it('that fail are rolled back by a rollout', async () => {
    const [good, bad] = [await V2Server.start(['1']), await V2Server.start(['2'])]
    const serving = servingOf({
      remoteVersions: { '1': { urls: [good.url] }, '2': { urls: [bad.url] } },
      current: '1',
      retries: 0,
      circuit: { failures: 1000 },
    })
    await serving.ready()
    const rollout = await serving.models.startRollout('m', {
      version: '2',
      steps: [50],
      minStepMs: 0,
      minRequests: 20,
    })
    expect(rollout.phase).toBe('running')
    bad.fault = 'broken'
    for (let i = 0; i < 200 && serving.models.rolloutOf('m')?.phase === 'running'; i++) {
      await serving.predict('m', input).catch(() => {})
    }
    expect(serving.models.rolloutOf('m')).toMatchObject({ phase: 'rolled-back' })
    for (let i = 0; i < 10; i++) expect((await serving.predict('m', input)).meta.version).toBe('1')
  })
})

describe('failover', () => {
  it.each<Fault>(['hang up', 'busy', 'broken', 'no JSON', 'break off'])(
    'goes to the next server where the first fails: %s',
    async (fault) => {
      const [first, second] = [await V2Server.start(), await V2Server.start()]
      const serving = servingOf({ urls: [first.url, second.url] })
      await serving.predict('m', input)
      expect([first.asked.length, second.asked.length]).toEqual([1, 0])
      first.fault = fault
      expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
      expect([first.asked.length, second.asked.length]).toEqual([2, 1])
    },
  )

  it('goes to the next server where an attempt takes too long, and where a server is gone', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    const serving = servingOf({ urls: [first.url, second.url], attemptTimeoutMs: 500 })
    await serving.ready()
    first.fault = 'hang'
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    expect(first.hungUp).toBe(1)
    await first.stop()
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    expect(second.asked).toHaveLength(2)
  })

  it('does not happen where the input is at fault', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    const serving = servingOf({ urls: [first.url, second.url] })
    await serving.ready()
    first.fault = 'refuses'
    const call = serving.predict('m', input)
    await expect(call).rejects.toMatchObject({ code: 'INVALID_INPUT' })
    await expect(call).rejects.toThrow('the remote server refused the input: x is not good')
    expect(second.asked).toEqual([])
  })

  it('loads from whichever server answers', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    await first.stop()
    const serving = servingOf({ urls: ['http://127.0.0.1:1', second.url] })
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })

  it('ends after as many retries as are allowed, and tells no addresses to callers', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url, retries: 3 })
    await serving.ready()
    server.fault = 'busy'
    const call = serving.predict('m', input)
    await expect(call).rejects.toMatchObject({
      code: 'REMOTE_UNAVAILABLE',
      status: 503,
      retryable: true,
      headers: { 'retry-after': '0' },
      message: 'm@1: the remote server answered 503: busy',
    })
    expect(server.asked).toHaveLength(4)
    await server.stop()
    await expect(serving.predict('m', input)).rejects.toThrow(
      /^m@1: the remote server could not be reached, or/,
    )
  })

  it('has the defaults of options that are undefined', async () => {
    const server = await V2Server.start()
    const undefinedOptions = { retries: undefined, concurrency: undefined, attemptTimeoutMs: undefined }
    const serving = servingOf({ url: server.url, ...(undefinedOptions as object) })
    const versions = { a: { source: '/a', urls: undefined }, b: { model: undefined } }
    remote({ url: server.url, model: 'm', remoteVersions: versions as never })
    await serving.ready()
    server.fault = 'busy'
    await expect(serving.predict('m', input)).rejects.toMatchObject({ code: 'REMOTE_UNAVAILABLE' })
    expect(server.asked).toHaveLength(3)
  })

  it('does not ask the same server again whose model failed, or took too long', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url, attemptTimeoutMs: 500 })
    await serving.ready()
    server.fault = 'broken'
    await expect(serving.predict('m', input)).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'm@1: the remote model failed: out of memory',
    })
    server.fault = 'hang'
    await expect(serving.predict('m', input)).rejects.toMatchObject({ code: 'RUN_TIMEOUT' })
    expect(server.asked).toHaveLength(2)
  })

  it('gives way to the fallback, where all servers fail', async () => {
    const [down, up] = [await V2Server.start(), await V2Server.start(['7'])]
    const serving = createServing({
      models: {
        m: remote({ url: down.url, model: 'm', fallback: 'spare', retries: 0, healthIntervalMs: 0 }),
        spare: remote({ url: up.url, model: 'm', healthIntervalMs: 0 }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    await down.stop()
    const { prediction, meta } = await serving.predict('m', input)
    expect(prediction).toEqual([7, 14])
    expect(meta).toMatchObject({ model: 'spare', degraded: 'fallback' })
  })
})

describe('health checks', () => {
  it('put a server last that says no, and back to its place once it says yes', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    const warnings: string[] = []
    const serving = servingOf({ urls: [first.url, second.url], healthIntervalMs: 10 }, {}, loggerOf(warnings))
    await serving.ready()
    first.isReady = false
    await expect.poll(() => warnings).toHaveLength(1)
    expect(warnings[0]).toBe(`m@1: ${first.url} comes last: it says that the model is not ready`)
    await serving.predict('m', input)
    expect([first.asked.length, second.asked.length]).toEqual([0, 1])
    second.fault = 'broken'
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    second.fault = 'none'
    first.isReady = true
    await expect.poll(() => warnings).toContain(`m@1: ${first.url} is ready again`)
    first.asked.length = 0
    await serving.predict('m', input)
    expect(first.asked).toHaveLength(1)
  })

  it('end with the version', async () => {
    const server = await V2Server.start()
    const warnings: string[] = []
    const serving = servingOf({ url: server.url, healthIntervalMs: 10 }, {}, loggerOf(warnings))
    await serving.ready()
    await serving.close()
    await server.stop()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(warnings).toEqual([])
  })
})

describe('the circuit', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('opens after failures in a row, and closes with the first request that is answered after its time', async () => {
    const server = await V2Server.start()
    const warnings: string[] = []
    const circuit = { failures: 2, openMs: 30_000 }
    const serving = servingOf({ url: server.url, retries: 0, circuit }, {}, loggerOf(warnings))
    await serving.ready()
    vi.useFakeTimers({ toFake: ['Date'] })
    server.fault = 'busy'
    for (const _ of [1, 2]) await expect(serving.predict('m', input)).rejects.toThrow('503: busy')
    expect(warnings).toEqual([expect.stringContaining(`${server.url} is left alone for 30000 ms`)])
    await expect(serving.predict('m', input)).rejects.toMatchObject({
      code: 'REMOTE_UNAVAILABLE',
      headers: { 'retry-after': '30' },
      message: 'm@1: every remote server failed lately, and is left alone for now.',
    })
    expect(server.asked).toHaveLength(2)
    // Half open: one request tries, fails, and the circuit is open again.
    vi.setSystemTime(Date.now() + 30_000)
    await expect(serving.predict('m', input)).rejects.toThrow('503: busy')
    await expect(serving.predict('m', input)).rejects.toThrow('left alone')
    expect(server.asked).toHaveLength(3)
    server.fault = 'none'
    vi.setSystemTime(Date.now() + 30_000)
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    expect(warnings.at(-1)).toContain('answers again')
    server.fault = 'busy'
    await expect(serving.predict('m', input)).rejects.toThrow('503: busy')
    server.fault = 'none'
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })

  it('of one server open, the others are asked; while one request tries it, no other does', async () => {
    const [first, second] = [await V2Server.start(), await V2Server.start()]
    const circuit = { failures: 1, openMs: 1000 }
    const serving = servingOf({ urls: [first.url, second.url], circuit })
    await serving.ready()
    vi.useFakeTimers({ toFake: ['Date'] })
    first.fault = 'busy'
    for (let i = 0; i < 5; i++) expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
    expect([first.asked.length, second.asked.length]).toEqual([1, 5])
    vi.setSystemTime(Date.now() + 1000)
    first.fault = 'hang'
    const abort = new AbortController()
    const trial = serving.predict('m', input, { signal: abort.signal })
    await expect.poll(() => first.asked.length).toBe(2)
    for (let i = 0; i < 3; i++) await serving.predict('m', input)
    expect(first.asked).toHaveLength(2)
    // A trial that was given up proves nothing: the circuit is open again.
    abort.abort()
    await expect(trial).rejects.toMatchObject({ code: 'ABORTED' })
    await serving.predict('m', input)
    expect(first.asked).toHaveLength(2)
  })

  it('is not opened by inputs at fault or that the model fails on, nor by callers who give up', async () => {
    const server = await V2Server.start()
    const serving = servingOf({ url: server.url, circuit: { failures: 1 } })
    await serving.ready()
    server.fault = 'refuses'
    await expect(serving.predict('m', input)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
    server.fault = 'broken'
    await expect(serving.predict('m', input)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    server.fault = 'hang'
    await expect(serving.predict('m', input, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    server.fault = 'none'
    expect((await serving.predict('m', input)).prediction).toEqual([1, 2])
  })
})

describe('remote()', () => {
  const make = (options: object) => () => remote({ url: 'http://a', model: 'm', ...options })

  it.each([
    [{ model: undefined }, 'model is missing'],
    [{ url: undefined }, 'url or urls is missing'],
    [{ urls: ['http://b'] }, 'url and urls say the same'],
    [{ url: 'a:8000' }, '"a:8000" is no address of the form http://'],
    [{ version: '1', remoteVersions: { a: {} } }, 'version and remoteVersions say the same'],
    [{ remoteVersions: { '/': {} } }, 'remoteVersions must be an object of versions by name'],
    [{ protocol: 'grpc', binary: true }, 'binary is of REST'],
    [{ url: 'http://a:99999' }, 'url must be an http:// or https:// address'],
    [{ url: 'http://me:secret@a' }, 'which go into the headers'],
    [{ headers: { a: 'b\nc' } }, 'headers["a"] must be a text that HTTP can carry'],
    [{ model: '..' }, 'the model must be a name'],
    [{ remoteVersions: { a: { version: '..' } } }, 'the version must be a name'],
    [{ maxResponseBytes: 0 }, 'maxResponseBytes must be'],
    [{ protocol: 'grpc', url: 'a:99999' }, '"a:99999" is no address of the form host:port'],
    [{ protocol: 'grpc', url: 'a:1', headers: { 'a-bin': 'b' } }, '"a-bin" is no name of metadata'],
    [{ protocol: 'grpc', url: 'a:1', headers: { a: 'é' } }, 'the value of "a" must be of printable ASCII'],
    [{ protocol: 'grpc' }, '"http://a" is no address of the form host:port'],
    [{ retrys: 1 }, 'Did you mean "retries"?'],
    [{ circuit: { openMs: 0 } }, 'circuit: openMs must be'],
    [{ signature: { inputs: [{ name: 'x', dtype: 'float', shape: [] }] } }, 'inputs must be a list of'],
    [{ batching: { ragged: { inputs: {} } } }, 'unknown option'],
  ])('refuses %j', (options, message) => {
    expect(make(options)).toThrow(message)
  })
})
