import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
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
import { grpcServer, type GrpcOptions } from 'mlserving/grpc'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { asAny } from '../../contract/serving.js'
import { temporaryRepository } from '../../models/temporary-repository.js'
import { identityModel } from '../../onnx/models.js'
import { clientOf, failureOf, type Plain, type TestClient } from './client.js'
import { logger, metric, request, slow, slowModel, start } from './running-server.js'

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

const executions = async (client: TestClient) =>
  (await client.call('ModelStatistics', { name: 'slow' })).model_stats as Plain[]

describe('a deadline', () => {
  test('reaches the queue: a request that waits there past it costs no run', async () => {
    const { serving, client } = await start({}, slowModel)
    const { calls } = await busy(serving, client)
    const late = client.call('ModelInfer', slow, undefined, { deadline: Date.now() + 50 })
    expect((await failureOf(late)).code).toBe(status.DEADLINE_EXCEEDED)
    await calls
    // A client gives up at its deadline, and may say so before the server's own clock does.
    await expect
      .poll(async () => {
        const { success, timeout = 0, aborted = 0 } = await counted(serving, 'slow')
        return { success, late: timeout + aborted }
      })
      .toEqual({ success: 2, late: 1 })
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

  test('that throws a status that can not be sent is INTERNAL', async () => {
    const { client } = await start({
      context: () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- as grpc-js's own handlers may
        throw { code: status.UNAUTHENTICATED, details: 'who are you?', metadata: { realm: 'cats' } }
      },
    })
    expect((await failureOf(client.call('ModelInfer', request))).code).toBe(status.INTERNAL)
    expect((await client.stream([request])).end.code).toBe(status.INTERNAL)
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

  test('waits at its close for no connection on which nothing is asked', async () => {
    const { server, port } = await start({ closeTimeoutMs: 2 ** 31 - 1 })
    for (const said of ['', 'PRI * HTT']) {
      const socket = connectTcp(port, '127.0.0.1')
      onTestFinished(() => void socket.destroy())
      socket.on('error', () => {}).write(said)
      await once(socket, 'connect')
    }
    await server.close()
  })

  test('lets those go who ask for its health while it closes', async () => {
    const { client, server, port } = await start({}, slowModel)
    const call = client.call('ModelInfer', slow)
    const session = connect(`http://127.0.0.1:${port}`)
    onTestFinished(() => session.destroy())
    session.on('error', () => {})
    const late = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Watch',
      'content-type': 'application/grpc',
    })
    late.on('error', () => {})
    await client.call('ServerLive')
    const closing = server.close()
    late.end(Buffer.alloc(5))
    const [answer] = (await once(late, 'data')) as [Buffer]
    expect([...answer]).toEqual([0, 0, 0, 0, 2, 8, 2])
    await closing
    await call
  })

  test('drops a connection that says no more whether it lives', async () => {
    const channelOptions = { 'grpc.keepalive_time_ms': 50, 'grpc.keepalive_timeout_ms': 50 }
    const { port } = await start({ channelOptions })
    const socket = connectTcp(port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    // What begins a connection, and an empty frame of settings; nothing is heard of what the server asks then.
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')
    await once(socket.resume(), 'close')
  })

  test('may be closed before it listens, and twice', async () => {
    const { serving } = await start()
    const server = grpcServer(serving)
    await server.close()
    await server[Symbol.asyncDispose]()
  })

  test('that was closed before it listens holds up no process', async () => {
    const { serving } = await start()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    await grpcServer(serving).close()
    expect(vi.getTimerCount()).toBe(0)
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
        'subjectAltName=DNS:localhost',
      ],
      { stdio: 'ignore' },
    )
    const [private_key, cert_chain] = [readFileSync(key), readFileSync(cert)]
    const { port } = await start({
      credentials: ServerCredentials.createSsl(null, [{ private_key, cert_chain }]),
    })
    const client = new Client(`localhost:${port}`, credentials.createSsl(cert_chain))
    onTestFinished(() => client.close())
    const deadline = Date.now() + 10_000
    await new Promise<void>((resolve, reject) =>
      client.waitForReady(deadline, (error) => (error ? reject(error) : resolve())),
    )
  })
})

test.each([
  [{ port: -1 }, 'port must be an integer'],
  [{ channelOptions: 5 }, 'channelOptions must be an object'],
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
