import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { float32, InferenceClient } from 'mlserving/client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { json, scripted, silence } from './scripted-server.js'

const inputs = { x: float32([1, 2], [1, 2]) }
const answer = '{"model_name":"m","outputs":[]}'
const infer = '/v2/models/m/infer'

const clientOf = (url: string, options = {}) =>
  new InferenceClient({ url, binary: false, retries: 0, ...options })

/** A server that writes bytes of its own to each request that comes over a connection. */
async function rawServer(act: (socket: Socket, request: number) => void): Promise<string> {
  let requests = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('data', () => act(socket, ++requests))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A response of HTTP. */
const http = (body: string, ...headers: string[]) =>
  ['HTTP/1.1 200 OK', `content-length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n')

const sending = (text: string) => (socket: Socket) => void socket.write(text)

describe('what is no HTTP, or breaks its rules,', () => {
  const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nabc\r\n'
  it.each<[string, (socket: Socket) => void, object]>([
    ['another protocol', sending('SSH-2.0-OpenSSH\r\n'), { status: undefined }],
    ['two lengths', sending(http(answer, 'content-length: 3')), { status: undefined }],
    ['endless headers', sending(http(answer, `x: ${'a'.repeat(100_000)}`)), { status: undefined }],
    ['half a connection', (socket) => socket.end(), { status: undefined }],
    ['chunks that are none', sending(chunked), { status: 200 }],
    ['no gzip', sending(http('not gzip', 'content-encoding: gzip')), { status: 200 }],
    [
      'less than its length',
      (socket) => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n${answer}`),
      { status: 200 },
    ],
  ])('is CONNECTION_FAILED: %s', async (_, act, error) => {
    const call = clientOf(await rawServer(act)).infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'CONNECTION_FAILED', ...error })
  })

  it('is never the answer to another call: what follows an answer is thrown away', async () => {
    const url = await rawServer((socket, request) =>
      socket.write(request === 1 ? http(answer) + http(answer.replace('"m"', '"evil"')) : http(answer)),
    )
    const client = clientOf(url)
    for (let i = 0; i < 3; i++) {
      const call = client.infer('m', { inputs }).catch(() => ({ modelName: 'm' }))
      expect(await call).toMatchObject({ modelName: 'm' })
    }
  })
})

describe('a redirect', () => {
  it.each([301, 302, 307, 308])('is not followed, with what it carries, but told: %i', async (status) => {
    const other = await scripted({ [infer]: json(answer) })
    const server = await scripted({ [infer]: json('', status, { location: other.url + infer }) })
    const call = clientOf(server.url, { retries: 2, headers: { 'x-api-key': 'k' } }).infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'SERVER_ERROR', status, serverMessage: undefined })
    await expect(call).rejects.toThrow(
      `${status}: it redirects to ${other.url}${infer}, which is not followed`,
    )
    expect([server.seen.length, other.seen.length]).toEqual([1, 0])
  })
})

describe('an answer without end', () => {
  /** Writes until the connection is closed, and says when that is. */
  const endless = (status: number) => {
    let isClosed = false
    const act = (socket: Socket) => {
      socket.on('close', () => (isClosed = true))
      socket.write(`HTTP/1.1 ${status} OK\r\n\r\n`)
      const spaces = Buffer.alloc(1 << 16, ' ')
      const write = () => {
        while (!socket.destroyed && socket.write(spaces));
      }
      socket.on('drain', write)
      write()
    }
    return { act, isClosed: () => isClosed }
  }

  it('is cut off at maxResponseBytes', async () => {
    const { act, isClosed } = endless(200)
    const client = clientOf(await rawServer(act), { maxResponseBytes: 1_000_000, retries: 2 })
    const call = client.infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'RESPONSE_TOO_LARGE', status: 200 })
    await expect(call).rejects.toThrow('more than 1000000 bytes (maxResponseBytes)')
    await expect.poll(isClosed).toBe(true)
  })

  it('is read as far as its reason may be, where it is an error', async () => {
    const { act, isClosed } = endless(500)
    const call = clientOf(await rawServer(act)).infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'SERVER_ERROR', status: 500 })
    await expect.poll(isClosed).toBe(true)
  })

  it('may be as long as maxResponseBytes', async () => {
    const server = await scripted({ [infer]: json(answer) })
    const maxResponseBytes = answer.length
    await clientOf(server.url, { maxResponseBytes }).infer('m', { inputs })
    const call = clientOf(server.url, { maxResponseBytes: maxResponseBytes - 1 }).infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'RESPONSE_TOO_LARGE' })
  })
})

it("an answer that Node's own fetch does not wait for is a TIMEOUT, and not asked for again", async () => {
  const server = await scripted({ [infer]: silence, '/v2': json({ name: 'a', version: '1' }) })
  await clientOf(server.url).serverMetadata()
  const dispatcher = dispatcherOf({ headersTimeout: 50 })
  onTestFinished(() => dispatcher.close())
  const fetch = (url: string, init: object) => {
    const options: object = { ...init, dispatcher }
    return globalThis.fetch(url, options)
  }
  const call = clientOf(server.url, { fetch, retries: 2 }).infer('m', { inputs })
  await expect(call).rejects.toMatchObject({ code: 'TIMEOUT' })
  expect(server.seen.filter(({ url }) => url === infer)).toHaveLength(1)
})

/** A dispatcher of the undici that is Node's fetch, which has to have been called before. */
function dispatcherOf(options: object): { close(): Promise<void> } {
  const globals = globalThis as unknown as Record<symbol, object | undefined>
  const agents = Object.getOwnPropertySymbols(globalThis).map((symbol) => globals[symbol]?.constructor)
  const Agent = agents.find((constructor) => constructor?.name === 'Agent') ?? expect.fail()
  return new (Agent as new (options: object) => { close(): Promise<void> })(options)
}
