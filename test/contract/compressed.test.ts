import { brotliCompressSync, constants, createGzip, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, Line } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hosts, type RunningHost } from './hosts.js'
import { startServing } from './serving.js'

const folder = temporaryFolder()
const predict = '/models/identity/predict'
const body = '{"x":[1,2,3]}'
const type = { 'content-type': 'application/json' }
const logger = quietLogger()
let serving: AnyServing
let bomb: Buffer

beforeAll(async () => {
  serving = await startServing(folder, logger)
  bomb = await compressedSpaces(2 ** 31)
})
afterAll(async () => {
  await serving.close()
  expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
})

/** A small gzip body that inflates to as many spaces. */
async function compressedSpaces(bytes: number): Promise<Buffer> {
  const block = Buffer.alloc(2 ** 24, ' ')
  const gzip = createGzip({ level: constants.Z_BEST_SPEED })
  const parts: Buffer[] = []
  gzip.on('data', (part: Buffer) => parts.push(part))
  for (let left = bytes; left > 0; left -= block.length) {
    if (!gzip.write(block)) await once(gzip, 'drain')
  }
  gzip.end()
  await once(gzip, 'end')
  return Buffer.concat(parts)
}

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  let strict: RunningHost
  beforeAll(async () => {
    host = await start(serving)
    strict = await start(serving, { maxBodyBytes: 1000 })
  })
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    await strict[Symbol.asyncDispose]()
  })

  test.each([
    ['gzip', gzipSync(body)],
    ['GZIP', gzipSync(body)],
    ['x-gzip', gzipSync(body)],
    ['deflate', deflateSync(body)],
    ['br', brotliCompressSync(body)],
    ['gzip', Buffer.concat([gzipSync('{"x":['), gzipSync('1,2,3]}')])],
  ])('a body of the encoding %s is inflated', async (encoding, bytes) => {
    const answer = await ask(host.origin, predict, {
      headers: { ...type, 'content-encoding': encoding },
      body: bytes,
    })
    expect(answer.status).toBe(200)
    expect(json(answer)).toMatchObject({ prediction: [1, 2, 3] })
  })

  test.each([
    ['gzip', 'plain text', Buffer.from(body)],
    ['gzip', 'half of it', gzipSync(body).subarray(0, 15)],
    ['gzip', 'a wrong checksum', Buffer.concat([gzipSync(body).subarray(0, -8), Buffer.alloc(8)])],
    ['deflate', 'no zlib', deflateRawSync(body)],
    ['deflate', 'gzip', gzipSync(body)],
    ['br', 'gzip', gzipSync(body)],
    ['br', 'half of it', brotliCompressSync(body).subarray(0, 8)],
  ])('a body that claims to be %s and is %s is refused', async (encoding, _, bytes) => {
    const headers = { ...type, 'content-encoding': encoding }
    const answer = await ask(host.origin, predict, { headers, body: bytes })
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({
      code: 'INVALID_REQUEST',
      detail: expect.stringContaining(`the body is not valid ${encoding}: `),
    })
  })

  test('a compressed body of nothing is empty', async () => {
    const headers = { ...type, 'content-encoding': 'gzip' }
    const answer = await ask(host.origin, predict, { headers, body: gzipSync('') })
    expect(answer.status).toBe(400)
    expect(json(answer)).toMatchObject({ detail: 'the body is empty; send a JSON object.' })
  })

  test('the limit holds for what the body inflates to, to the byte', async () => {
    const headers = { ...type, 'content-encoding': 'gzip' }
    const within = await ask(strict.origin, predict, { headers, body: gzipSync(body.padEnd(1000)) })
    expect(within.status).toBe(200)
    const beyond = await ask(strict.origin, predict, { headers, body: gzipSync(body.padEnd(1001)) })
    expect(beyond.status).toBe(413)
    expect(json(beyond)).toMatchObject({
      code: 'BODY_TOO_LARGE',
      detail: 'the body is larger than 1000 bytes.',
    })
  })

  test('a small body that inflates to gigabytes is refused early, in little memory', async () => {
    expect(bomb.length).toBeLessThan(16 * 2 ** 20)
    const before = process.memoryUsage()
    const answers = await Promise.all(
      Array.from({ length: 4 }, () =>
        ask(host.origin, predict, { headers: { ...type, 'content-encoding': 'gzip' }, body: bomb }),
      ),
    )
    const after = process.memoryUsage()
    expect(answers.map(({ status }) => status)).toEqual([413, 413, 413, 413])
    // Four times 8 MiB that are kept until they are too much, and what is on its way; far from 8 GiB.
    expect(after.rss - before.rss).toBeLessThan(400 * 2 ** 20)
  })

  test('a body that is refused while it inflates leaves the connection to the next request', async () => {
    using line = await Line.dial(strict.origin)
    const bytes = gzipSync(' '.repeat(1_000_000))
    const head = `POST ${predict} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n`
    line.write(`${head}transfer-encoding: chunked\r\n\r\n`)
    const chunk = (part: Buffer) => `${part.length.toString(16)}\r\n${part.toString('latin1')}\r\n`
    line.write(chunk(bytes.subarray(0, 500)), 'latin1')
    expect((await line.answer()).status).toBe(413)
    line.write(chunk(bytes.subarray(500)), 'latin1')
    line.write('0\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\n\r\n')
    expect((await line.answer()).status).toBe(200)
  })

  test('a caller who hangs up while its body inflates harms nobody', async () => {
    using line = await Line.dial(host.origin)
    const head = `POST ${predict} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n`
    line.write(
      `${head}content-length: 1000\r\n\r\n${gzipSync(body).subarray(0, 12).toString('latin1')}`,
      'latin1',
    )
    line.hangUp()
    const headers = { ...type, 'content-encoding': 'gzip' }
    expect((await ask(host.origin, predict, { headers, body: gzipSync(body) })).status).toBe(200)
  })
})
