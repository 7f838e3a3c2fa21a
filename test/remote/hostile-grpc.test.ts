import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { createServing } from 'mlserving'
import { float32 } from 'mlserving/client'
import { remote } from 'mlserving/remote'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GrpcConnection } from '../../src/remote/grpc-connection.js'
import { inferenceService } from '../../src/v2/grpc-service.js'
import { toRaw } from '../../src/v2/raw-tensor.js'
import { quietLogger } from '../models/quiet-logger.js'
import { otherType } from '../v2/other-protobuf.js'

const x = float32([1, 2], [1, 2])
const raw = Buffer.from(toRaw(x))
const tensor = { name: 'y', datatype: 'FP32', shape: [1, 2] }

type Handler = (
  request: Buffer,
  reply: (error: Partial<grpc.StatusObject> | null, answer?: Buffer) => void,
) => void

const encoded = (type: string, message: object) => otherType(type).encode(message)

/** A server whose model `m` says that it is ready and takes `x`, and answers as it is told to. */
async function startServer(infer: Handler, options: grpc.ServerOptions = {}): Promise<string> {
  const method = (name: string) => ({
    path: `/${inferenceService}/${name}`,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  })
  const names = ['ModelReady', 'ModelMetadata', 'ModelInfer']
  const inputs = [{ ...tensor, name: 'x', shape: [-1, 2] }]
  const metadata = { name: 'm', versions: ['1'], inputs, outputs: [{ ...tensor, shape: [-1, 2] }] }
  const server = new grpc.Server(options)
  server.addService(Object.fromEntries(names.map((name) => [name, method(name)])), {
    ModelReady: (_: unknown, reply: grpc.sendUnaryData<Buffer>) =>
      reply(null, encoded('Ready', { ready: true })),
    ModelMetadata: (_: unknown, reply: grpc.sendUnaryData<Buffer>) =>
      reply(null, encoded('Metadata', metadata)),
    ModelInfer: (call: { request: Buffer }, reply: grpc.sendUnaryData<Buffer>) =>
      infer(call.request, (error, answer) => reply(error, answer)),
  })
  const credentials = grpc.ServerCredentials.createInsecure()
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  )
  onTestFinished(() => server.forceShutdown())
  return `127.0.0.1:${port}`
}

const answers =
  (...messages: object[]): Handler =>
  (_, reply) =>
    reply(
      null,
      encoded('ModelInferResponse', messages.length > 1 ? (messages.shift() ?? {}) : (messages[0] ?? {})),
    )

const good = { outputs: [tensor], raw_output_contents: [raw] }

/** A serving of the model `m`, loaded. */
async function servingOf(url: string, options: Partial<Parameters<typeof remote>[0]> = {}) {
  const access = { url, model: 'm', protocol: 'grpc', healthIntervalMs: 0, retries: 0, ...options } as const
  const serving = createServing({ models: { m: remote(access) }, logger: quietLogger() })
  onTestFinished(() => serving.close())
  await serving.ready()
  return serving
}

describe('an answer over gRPC', () => {
  it.each<[string, Handler]>([
    ['of bytes that are no message', (_, reply) => reply(null, Buffer.from('ffffffffffff', 'hex'))],
    ['with fewer raw contents than outputs', answers({ outputs: [tensor, { ...tensor, name: 'z', shape: [0] }], raw_output_contents: [raw] })], // prettier-ignore
    ['with more raw contents than outputs', answers({ outputs: [tensor], raw_output_contents: [raw, raw] })],
    ['with an output twice', answers({ outputs: [tensor, tensor], raw_output_contents: [raw, raw] })],
    ['of too few bytes', answers({ outputs: [tensor], raw_output_contents: [raw.subarray(1)] })],
    [
      'of a negative shape',
      answers({ outputs: [{ ...tensor, shape: [-1, -2] }], raw_output_contents: [raw] }),
    ],
    ['of a shape beyond all bounds', answers({ outputs: [{ ...tensor, shape: ['9223372036854775807', 2] }], raw_output_contents: [raw] })], // prettier-ignore
    [
      'of an unknown datatype',
      answers({ outputs: [{ ...tensor, datatype: 'BF16' }], raw_output_contents: [raw] }),
    ],
  ])('%s is none, and the server is left', async (_, infer) => {
    const serving = await servingOf(await startServer(infer))
    await expect(serving.infer('m', { inputs: { x } })).rejects.toMatchObject({
      code: 'REMOTE_UNAVAILABLE',
      message: 'm@1: the remote server gave no answer of the protocol.',
    })
  })

  it('may be as large as maxResponseBytes', async () => {
    const large = { outputs: [{ ...tensor, shape: [500, 2] }], raw_output_contents: [Buffer.alloc(4000)] }
    const serving = await servingOf(await startServer(answers(good, large)), { maxResponseBytes: 3000 })
    await serving.infer('m', { inputs: { x } })
    await expect(serving.infer('m', { inputs: { x } })).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'm@1: the remote server answered with more than maxResponseBytes.',
    })
  })
})

it('an input that is too large for a server is the fault of the input', async () => {
  const url = await startServer(answers(good), { 'grpc.max_receive_message_length': 1000 })
  const serving = await servingOf(url, { circuit: { failures: 1 } })
  const large = float32(new Array<number>(1000).fill(1), [500, 2])
  await expect(serving.infer('m', { inputs: { x: large } })).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  expect((await serving.infer('m', { inputs: { x } })).outputs).toEqual({ y: x })
})

it('a server that is busy is asked again', async () => {
  let asked = 0
  const url = await startServer((request, reply) => {
    if (++asked === 1) return reply({ code: grpc.status.RESOURCE_EXHAUSTED, details: 'no slots left' })
    answers(good)(request, reply)
  })
  const serving = await servingOf(url, { retries: 1 })
  expect((await serving.infer('m', { inputs: { x } })).outputs).toEqual({ y: x })
  expect(asked).toBe(2)
})

describe('a connection', () => {
  /** A relay before a server, that can stop to carry anything over the connections it has, as a broken network does. */
  async function startRelay(target: string) {
    const pairs = new Set<readonly [Socket, Socket]>()
    const server = createServer((near) => {
      const far = connect(Number(target.split(':')[1]), '127.0.0.1')
      pairs.add([near, far])
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const)
        // prettier-ignore
        from.on('data', (chunk) => void to.write(chunk)).on('error', () => {}).on('close', () => to.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      for (const [near, far] of pairs) near.destroy(far.destroy().errored ?? undefined)
      server.close()
    })
    return {
      url: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      cut: () => {
        for (const pair of pairs) for (const socket of pair) socket.removeAllListeners('data').pause()
      },
    }
  }

  it('on which nothing comes any more is left after the first call that is not answered', async () => {
    const relay = await startRelay(await startServer(answers(good)))
    const serving = await servingOf(relay.url, { attemptTimeoutMs: 1000 })
    await serving.infer('m', { inputs: { x } })
    relay.cut()
    await expect(serving.infer('m', { inputs: { x } })).rejects.toMatchObject({ code: 'RUN_TIMEOUT' })
    expect((await serving.infer('m', { inputs: { x } })).outputs).toEqual({ y: x })
  })

  it('that is left still answers the calls that are under way on it', async () => {
    const replies: (() => void)[] = []
    const url = await startServer((request, reply) => replies.push(() => answers(good)(request, reply)))
    const connection = await GrpcConnection.open(url, { headers: {}, maxResponseBytes: 1e6 })
    onTestFinished(() => connection.close())
    const first = connection.infer('m', { inputs: { x } }, { timeoutMs: 20_000 })
    await expect.poll(() => replies.length).toBe(1)
    const late = connection.infer('m', { inputs: { x } }, { timeoutMs: 100 })
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' })
    replies[0]?.()
    expect((await first).outputs).toEqual({ y: x })
  })

  it('that was closed while a call is under way is followed by no other', async () => {
    let calls = 0
    const url = await startServer(() => calls++)
    const connection = await GrpcConnection.open(url, { headers: {}, maxResponseBytes: 1e6 })
    const infer = () => connection.infer('m', { inputs: { x } }, { timeoutMs: 300 })
    const late = infer()
    late.catch(() => {})
    await expect.poll(() => calls).toBe(1)
    connection.close()
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' })
    await expect(infer()).rejects.toThrow('shut down')
  })
})
