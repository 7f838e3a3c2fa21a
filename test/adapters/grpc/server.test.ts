import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { connect } from 'node:http2'
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import {
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  ServerCredentials,
  status,
} from '@grpc/grpc-js'
import { createServing, onnx, type ModelChange } from 'mlserving'
import { grpcServer, type GrpcOptions, type GrpcServer } from 'mlserving/grpc'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { asAny } from '../../contract/serving.js'
import { quietLogger } from '../../models/quiet-logger.js'
import { temporaryRepository } from '../../models/temporary-repository.js'
import { identityModel, loopModel } from '../../onnx/models.js'
import { clientOf, failureOf, float32Bytes, input, type Plain, type TestClient } from './client.js'

const logger = quietLogger()
const [serves, servesNot, unknown] = [1, 2, 3]

/** Serves `m`, the identity; `slow`, which takes a second; and what else is given. */
async function start(
  options: GrpcOptions = {},
  files: Record<string, string | Uint8Array | object> = {},
): Promise<{ serving: AnyServing; server: GrpcServer; client: TestClient; port: number }> {
  const repository = temporaryRepository({ 'm/1/model.onnx': identityModel(), ...files })
  const serving = asAny(createServing({ repository, logger }))
  onTestFinished(() => serving.close())
  await serving.ready()
  const server = grpcServer(serving, { port: 0, ...options })
  onTestFinished(() => server.close())
  const port = await server.listen()
  return { serving, server, client: clientOf(port), port }
}

const request = {
  model_name: 'm',
  inputs: [input('x', 'FP32', [1, 3])],
  raw_input_contents: [float32Bytes(1, 2, 3)],
}
const slow = {
  model_name: 'slow',
  inputs: [input('x', 'FP32', [1, 4])],
  raw_input_contents: [float32Bytes(1, 2, 3, 4)],
}
const slowModel = {
  'slow/1/model.onnx': loopModel({ ms: 300 }),
  'slow/model.json': { placement: 'thread', instances: 1, batching: { maxBatchSize: 1 }, maxQueueRows: 2 },
}

/** The requests that a model has had, by the status that the metrics give them. */
async function counted(serving: AnyServing, model: string): Promise<Record<string, number>> {
  const { body } = await serving.metrics.exposition()
  const lines = [...body.matchAll(/^model_requests_total\{(.*)\} (\d+)$/gm)]
  const own = lines.filter(([, labels = '']) => labels.includes(`model="${model}"`))
  return Object.fromEntries(
    own.map(([, labels = '', count]) => [/status="(\w+)"/.exec(labels)?.[1], Number(count)]),
  )
}

/** Two calls that keep the model busy: one computes, the other waits at the worker. */
async function busy(serving: AnyServing, client: TestClient): Promise<{ calls: Promise<unknown> }> {
  const calls = [client.call('ModelInfer', slow), client.call('ModelInfer', slow)]
  await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(2)
  return { calls: Promise.all(calls) }
}

/** A figure of the slow model. */
async function metric(serving: AnyServing, name: string): Promise<number> {
  const { body } = await serving.metrics.exposition()
  return Number(new RegExp(`^${name}\\{.*"slow".*\\} (.*)$`, 'm').exec(body)?.[1])
}

const executions = async (client: TestClient) =>
  (await client.call('ModelStatistics', { name: 'slow' })).model_stats as Plain[]

describe('a deadline', () => {
  test('reaches the queue: a request that waits there past it costs no run', async () => {
    const { serving, client } = await start({}, slowModel)
    const { calls } = await busy(serving, client)
    const late = client.call('ModelInfer', slow, undefined, { deadline: Date.now() + 50 })
    expect((await failureOf(late)).code).toBe(status.DEADLINE_EXCEEDED)
    await calls
    await expect.poll(() => counted(serving, 'slow')).toEqual({ success: 2, timeout: 1 })
    expect(await executions(client)).toMatchObject([{ execution_count: '2' }])
  })

  test('may be as far away as timers go, in whole seconds, which grpc-js sends it in', async () => {
    const { client } = await start()
    const deadline = Date.now() + Math.floor((2 ** 31 - 1) / 1000) * 1000
    expect(await client.call('ModelInfer', request, undefined, { deadline })).toMatchObject({
      model_name: 'm',
    })
  })

  test('that the parameters of the request have is one, unless the host says otherwise', async () => {
    const { client, serving } = await start({}, slowModel)
    const patient = grpcServer(serving, { port: 0, context: () => ({ timeoutMs: 60_000 }) })
    onTestFinished(() => patient.close())
    const { calls } = await busy(serving, client)
    const request = { ...slow, parameters: { timeout: { int64_param: 50_000 } } }
    const { code, details } = await failureOf(client.call('ModelInfer', request))
    expect([status.DEADLINE_EXCEEDED, status.UNAVAILABLE]).toContain(code)
    expect(details).toContain('slow@1')
    await clientOf(await patient.listen()).call('ModelInfer', request)
    await calls
  })
})

test('a call that is given up while it waits costs no run', async () => {
  const { serving, client } = await start({}, slowModel)
  const { calls } = await busy(serving, client)
  const given = client.call('ModelInfer', slow)
  const failure = failureOf(given)
  await expect.poll(() => metric(serving, 'model_queue_rows')).toBe(1)
  given.cancel()
  expect((await failure).code).toBe(status.CANCELLED)
  await calls
  await expect.poll(() => counted(serving, 'slow')).toEqual({ success: 2, aborted: 1 })
  expect(await executions(client)).toMatchObject([{ execution_count: '2' }])
})

test('a full queue is UNAVAILABLE, and says when to try again', async () => {
  const { client } = await start({}, slowModel)
  const calls = Array.from({ length: 8 }, () => client.call('ModelInfer', slow))
  const settled = await Promise.allSettled(calls)
  const refused = settled.flatMap((each) =>
    each.status === 'rejected' ? [each.reason as { code: number; metadata: Metadata }] : [],
  )
  expect(refused.length).toBeGreaterThan(3)
  for (const { code, metadata } of refused) {
    expect(code).toBe(status.UNAVAILABLE)
    expect(metadata.get('mlserving-code')).toEqual(['QUEUE_FULL'])
    expect(Number(metadata.get('retry-after')[0])).toBeGreaterThan(0)
    expect(Number(metadata.get('grpc-retry-pushback-ms')[0])).toBeGreaterThan(0)
  }
})

test('what fails inside is INTERNAL, of which the log alone has the details', async () => {
  const { client, serving } = await start()
  const infer = serving.infer.bind(serving)
  serving.infer = () => Promise.reject(new Error('the password is swordfish'))
  const { code, details, metadata } = await failureOf(client.call('ModelInfer', request))
  serving.infer = infer
  expect(code).toBe(status.INTERNAL)
  expect(details).not.toContain('swordfish')
  expect(metadata.get('x-request-id')).toHaveLength(1)
  expect(logger.entries.filter(({ message }) => message.includes('swordfish'))).toHaveLength(1)
})

describe('context', () => {
  test('says who asks, by the metadata of the call, and wins over the request', async () => {
    const seen: unknown[] = []
    const { client, serving } = await start({
      context: ({ metadata }) => ({
        tenant: String(metadata.get('user')[0]),
        version: 'latest',
        requestId: 'theirs',
      }),
    })
    const infer = serving.infer.bind(serving)
    serving.infer = (model, asked, options) => {
      seen.push(options)
      return infer(model, asked, options)
    }
    const metadata = new Metadata()
    metadata.set('user', 'ada')
    const parameters = { priority: { uint64_param: 1 } }
    const call = client.call('ModelInfer', { ...request, model_version: '9', parameters }, metadata)
    expect(await call).toMatchObject({ model_version: '1' })
    expect(seen).toMatchObject([{ tenant: 'ada', version: 'latest', priority: 'high', requestId: 'theirs' }])
    expect(call.headers()?.get('x-request-id')).toEqual(['theirs'])
  })

  test('may end a call by a status of its own', async () => {
    const { client } = await start({
      context: () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- as grpc-js's own handlers may
        throw { code: status.UNAUTHENTICATED, details: 'who are you? \ud800' }
      },
    })
    expect(await failureOf(client.call('ModelInfer', request))).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: 'who are you? \ufffd',
    })
    expect(await client.call('ServerLive')).toEqual({ live: true })
  })

  test('that fails, or gives what is none, is INTERNAL', async () => {
    let context: () => never = () => {
      throw new Error('no such table')
    }
    const { client } = await start({ context: () => context() })
    expect((await failureOf(client.call('ModelInfer', request))).code).toBe(status.INTERNAL)
    context = () => ({ tenant: 5 }) as never
    expect((await failureOf(client.call('ModelInfer', request))).code).toBe(status.INTERNAL)
  })
})

describe('admin', () => {
  const token = 'correct-horse-battery'
  const bearer = new Metadata()
  bearer.set('authorization', `Bearer ${token}`)
  const files = { 'lazy/1/model.onnx': identityModel(), 'lazy/model.json': { lazy: true } }

  test('lets those with the token load and unload, and has them in the changes', async () => {
    const { client, serving } = await start({ admin: { token: { ada: token } } }, files)
    const changes: ModelChange[] = []
    serving.models.onChange((change) => changes.push(change))
    const indexOf = async (ready: boolean) => (await client.call('RepositoryIndex', { ready }, bearer)).models
    expect(await indexOf(true)).toEqual([{ name: 'm', version: '1', state: 'READY', reason: '' }])
    expect(await indexOf(false)).toMatchObject([{ name: 'lazy', state: 'UNAVAILABLE' }, { name: 'm' }])
    await client.call('RepositoryModelLoad', { model_name: 'lazy' }, bearer)
    expect(await indexOf(true)).toMatchObject([{ name: 'lazy', version: '1' }, { name: 'm' }])
    await client.call('RepositoryModelUnload', { model_name: 'm' }, bearer)
    expect(await indexOf(true)).toMatchObject([{ name: 'lazy' }])
    expect(changes).toMatchObject([
      { actor: 'ada', model: 'lazy' },
      { actor: 'ada', model: 'm' },
    ])
    const { extensions } = await client.call('ServerMetadata')
    expect(extensions).toContain('model_repository')
  })

  test('refuses a load that brings a configuration or files', async () => {
    const { client } = await start({ admin: { token } }, files)
    for (const parameters of [
      { config: { string_param: '{}' } },
      { 'file:1/model.onnx': { bytes_param: Buffer.of(1) } },
    ]) {
      const { code, details } = await failureOf(
        client.call('RepositoryModelLoad', { model_name: 'lazy', parameters }, bearer),
      )
      expect(code).toBe(status.INVALID_ARGUMENT)
      expect(details).toContain(Object.keys(parameters)[0])
    }
    expect((await failureOf(client.call('RepositoryModelLoad', { model_name: 'nobody' }, bearer))).code).toBe(
      status.NOT_FOUND,
    )
  })

  test('refuses those without the token, or with another', async () => {
    const { client, serving } = await start({ admin: { token } })
    const wrong = new Metadata()
    wrong.set('authorization', 'Bearer wrong-horse-battery')
    for (const metadata of [new Metadata(), wrong]) {
      const { code } = await failureOf(client.call('RepositoryModelUnload', { model_name: 'm' }, metadata))
      expect(code).toBe(status.UNAUTHENTICATED)
    }
    expect(serving.models.get('m').current).toBe('1')
  })

  test('may be decided by the app', async () => {
    const { client } = await start({
      admin: { authorize: ({ metadata }) => metadata.get('user')[0]?.toString() },
    })
    expect((await failureOf(client.call('RepositoryIndex'))).code).toBe(status.PERMISSION_DENIED)
    const metadata = new Metadata()
    metadata.set('user', 'ada')
    expect(await client.call('RepositoryIndex', {}, metadata)).toMatchObject({ models: [{ name: 'm' }] })
  })
})

describe('the standard health service', () => {
  test.each(['', 'inference.GRPCInferenceService', 'm'])('checks "%s"', async (service) => {
    const { client, serving } = await start()
    expect(await client.call('Check', { service })).toEqual({ status: serves })
    await serving.close()
    expect(await client.call('Check', { service })).toEqual({ status: servesNot })
  })

  test('knows each model for itself', async () => {
    const { client, serving } = await start({}, { 'other/1/model.onnx': identityModel() })
    await serving.models.unload('other')
    expect(await client.call('Check', { service: 'm' })).toEqual({ status: serves })
    expect(await client.call('Check', { service: 'other' })).toEqual({ status: servesNot })
    expect((await failureOf(client.call('Check', { service: 'nobody' }))).code).toBe(status.NOT_FOUND)
  })

  test('tells those who watch of each change, and lets them go at the end', async () => {
    const { client, serving, server } = await start()
    const [whole, model, nobody, impatient] = ['', 'm', 'nobody', 'm'].map((service) => client.watch(service))
    await expect
      .poll(() => [whole, model, nobody].map((watch) => watch?.statuses))
      .toEqual([[serves], [serves], [unknown]])
    impatient?.cancel()
    await serving.models.unload('m')
    await expect.poll(() => model?.statuses).toEqual([serves, servesNot])
    await serving.models.load('m', '1', { activate: true })
    await expect.poll(() => model?.statuses).toEqual([serves, servesNot, serves])
    await server.close()
    for (const watch of [whole, model, nobody]) await watch?.ended
    expect(model?.statuses.at(-1)).toBe(servesNot)
  })

  test('says of a serving that drains that it does not serve, while it answers', async () => {
    const { client, serving } = await start()
    await serving.drain()
    expect(await client.call('Check')).toEqual({ status: servesNot })
    expect(await client.call('ServerReady')).toEqual({ ready: false })
    expect(await client.call('ServerLive')).toEqual({ live: true })
    expect(await client.call('ModelInfer', request)).toMatchObject({ model_version: '1' })
  })
})

describe('the server', () => {
  test('waits at its close for the calls under way, and takes no more', async () => {
    const { client, server, port } = await start({}, slowModel)
    const call = client.call('ModelInfer', slow)
    await client.call('ServerLive')
    const closing = server.close()
    expect(server.close()).toBe(closing)
    expect(await call).toMatchObject({ model_name: 'slow' })
    await closing
    const late = clientOf(port).call('ServerLive', {}, undefined, { deadline: Date.now() + 1000 })
    expect([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]).toContain((await failureOf(late)).code)
    await expect(server.listen()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('ends at its close what takes longer than closeTimeoutMs', async () => {
    const { client, server } = await start({ closeTimeoutMs: 50 }, slowModel)
    const failure = failureOf(client.call('ModelInfer', slow))
    await client.call('ServerLive')
    await server.close()
    expect([status.CANCELLED, status.UNAVAILABLE, status.INTERNAL]).toContain((await failure).code)
  })

  test('may be closed before it listens, and twice', async () => {
    const { serving } = await start()
    const server = grpcServer(serving)
    await server.close()
    await server[Symbol.asyncDispose]()
  })

  test('leaves the serving open', async () => {
    const { server, serving } = await start()
    await server.close()
    expect(serving.isClosed).toBe(false)
  })

  test('says why it can not listen', async () => {
    const { serving } = await start()
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const server = grpcServer(serving, { port })
    await expect(server.listen()).rejects.toThrow('EADDRINUSE')
    await server.close()
  })

  test('refuses a message larger than maxMessageBytes, inflated too, and lives on', async () => {
    const { client, port } = await start({ maxMessageBytes: 1000 })
    const large = { ...request, id: 'i'.repeat(2000) }
    expect((await failureOf(client.call('ModelInfer', large))).code).toBe(status.RESOURCE_EXHAUSTED)
    const compressing = clientOf(port, { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip })
    expect((await failureOf(compressing.call('ModelInfer', large))).code).toBe(status.RESOURCE_EXHAUSTED)
    expect(await compressing.call('ModelInfer', request)).toMatchObject({ model_name: 'm' })
  })

  test('survives connections that speak something else, or break off', async () => {
    const { client, port } = await start()
    const session = connect(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    const headers = {
      ':method': 'POST',
      ':path': '/inference.GRPCInferenceService/ModelInfer',
      'content-type': 'application/grpc',
    }
    for (const body of [
      Buffer.alloc(0),
      Buffer.from([0, 0, 0]),
      Buffer.from([1, 0, 0, 0, 3, 1, 2, 3]),
      Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), gzipSync('x')]),
    ]) {
      for (const more of [
        {},
        { 'grpc-encoding': 'gzip' },
        { 'grpc-timeout': 'soon' },
        { 'grpc-encoding': 'strange' },
      ]) {
        const stream = session.request({ ...headers, ...more })
        stream.on('error', () => {})
        stream.end(body)
        stream.resume()
        await once(stream, 'close')
      }
    }
    const open = session.request(headers)
    open.on('error', () => {})
    open.write(Buffer.from([0, 0, 0, 1, 0, 7]))
    session.destroy()
    expect(await client.call('ModelInfer', request)).toMatchObject({ model_name: 'm' })
  })

  const { error: withoutOpenssl } = spawnSync('openssl', ['version'])
  test.skipIf(withoutOpenssl)('takes credentials of TLS', async () => {
    const folder = temporaryRepository({})
    const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '1',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
      ],
      { stdio: 'ignore' },
    )
    const [private_key, cert_chain] = [readFileSync(key), readFileSync(cert)]
    const { port } = await start({
      credentials: ServerCredentials.createSsl(null, [{ private_key, cert_chain }]),
    })
    const client = new Client(`127.0.0.1:${port}`, credentials.createSsl(cert_chain))
    onTestFinished(() => client.close())
    const deadline = Date.now() + 10_000
    await new Promise<void>((resolve, reject) =>
      client.waitForReady(deadline, (error) => (error ? reject(error) : resolve())),
    )
  })
})

test.each([
  [{ port: -1 }, 'port must be an integer'],
  [{ prot: 8001 }, 'Did you mean "port"?'],
  [{ credentials: 'tls' }, "credentials must be grpc-js's ServerCredentials"],
  [{ admin: {} }, 'admin must have one of authorize and token'],
  [{ admin: { token: 'short' } }, 'at least 16 characters'],
])('options that are none are refused: %j', (options, message) => {
  const serving = asAny(createServing({ models: { m: onnx({ source: './nowhere', lazy: true }) }, logger }))
  onTestFinished(() => serving.close())
  expect(() => grpcServer(serving, options as GrpcOptions)).toThrow(message)
  expect(() => grpcServer({} as AnyServing)).toThrow('takes a serving')
})
