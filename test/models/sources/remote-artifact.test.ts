import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.js'
import { ArtifactCache } from '../../../src/models/sources/artifact-cache.js'
import { fetchArtifact } from '../../../src/models/sources/remote-artifact.js'
import { isAllowed, type RemoteSource } from '../../../src/models/sources/remote-source.js'
import { ManualClock } from '../../manual-clock.js'
import { temporaryRepository, writeInto } from '../temporary-repository.js'
import { artifactServer } from './artifact-server.js'

const content = randomBytes(300_000)
const sha256 = createHash('sha256').update(content).digest('hex')

function fetching(stateDir = temporaryRepository({}), clock = systemClock) {
  const cache = new ArtifactCache(stateDir)
  const closing = new AbortController()
  const fetch = (source: Partial<RemoteSource> & { url: string }) =>
    fetchArtifact({ sha256, ...source }, { cache, clock, signal: closing.signal })
  return { cache, fetch, closing, files: () => readdirSync(join(stateDir, 'artifacts')) }
}

it('an artifact is fetched once, and is the file that the server has', async () => {
  const { url, requests } = await artifactServer(content)
  const { fetch, files } = fetching()
  const path = await fetch({ url })
  expect(readFileSync(path).equals(content)).toBe(true)
  expect(await fetch({ url })).toBe(path)
  expect(requests).toHaveLength(1)
  expect(files()).toEqual([`${sha256}.onnx`])
})

it('those who want the same at the same time fetch it once', async () => {
  const { url, requests } = await artifactServer(content)
  const { fetch } = fetching()
  const paths = await Promise.all([fetch({ url }), fetch({ url }), fetch({ url: `${url}&other` })])
  expect(new Set(paths).size).toBe(1)
  expect(requests).toHaveLength(1)
})

it('what is cut off goes on where it was', async () => {
  const { url, requests } = await artifactServer(content, [
    { cutAfter: 100_000 },
    { cutAfter: 50_000 },
    'serve',
  ])
  const { fetch } = fetching()
  expect(readFileSync(await fetch({ url })).equals(content)).toBe(true)
  expect(requests.map(({ headers }) => headers.range)).toEqual([
    undefined,
    expect.stringMatching(/^bytes=\d+-$/),
    expect.stringMatching(/^bytes=\d+-$/),
  ])
})

it('what is cut off begins anew where the server knows no ranges', async () => {
  const { url } = await artifactServer(content, [{ cutAfter: 100_000 }, 'whole'])
  const { fetch } = fetching()
  expect(readFileSync(await fetch({ url })).equals(content)).toBe(true)
})

it('a later attempt goes on with what an earlier one got', async () => {
  const { url, requests } = await artifactServer(content, [{ cutAfter: 100_000 }, { status: 503 }, 'serve'])
  const { fetch } = fetching()
  await expect(fetch({ url })).rejects.toMatchObject({
    code: 'SOURCE_UNAVAILABLE',
    message: 'the artifact could not be fetched: the server answered 503',
  })
  await fetch({ url })
  expect(requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d+-$/)
})

it('what a process that ended left behind is gone on with, whole or in part', async () => {
  const { url, requests } = await artifactServer(content)
  for (const size of [1000, content.length]) {
    const stateDir = temporaryRepository({})
    const part = `artifacts/${sha256}.gone.partial`
    writeInto(stateDir, part, content.subarray(0, size))
    utimesSync(join(stateDir, part), 1, 1)
    const { fetch, files } = fetching(stateDir)
    await fetch({ url })
    expect(files()).toEqual([`${sha256}.onnx`])
  }
  expect(requests.map(({ headers }) => headers.range)).toEqual(['bytes=1000-'])
})

it('a beginning that is of something else is fetched again', async () => {
  const { url } = await artifactServer(content)
  for (const size of [1000, content.length + 5]) {
    const stateDir = temporaryRepository({})
    const part = `artifacts/${sha256}.gone.partial`
    writeInto(stateDir, part, randomBytes(size))
    utimesSync(join(stateDir, part), 1, 1)
    const { fetch } = fetching(stateDir)
    expect(readFileSync(await fetch({ url })).equals(content)).toBe(true)
  }
})

it('a file in the cache that is not what it should be is fetched again', async () => {
  const { url } = await artifactServer(content)
  const { fetch } = fetching()
  const path = await fetch({ url })
  writeFileSync(path, 'tampered')
  expect(readFileSync(await fetch({ url })).equals(content)).toBe(true)
})

it('what has another SHA-256 is refused, and not kept', async () => {
  const { url } = await artifactServer(content)
  const { fetch, files } = fetching()
  const other = 'a'.repeat(64)
  await expect(fetch({ url, sha256: other })).rejects.toMatchObject({
    code: 'INVALID_MODEL',
    message: `the artifact that was fetched is not the one: its SHA-256 is ${sha256}, and should be ${other}.`,
  })
  expect(files()).toEqual([])
})

it('the SHA-256 may be written in capitals', async () => {
  const { url } = await artifactServer(content)
  await fetching().fetch({ url, sha256: sha256.toUpperCase() })
})

it.each([
  ['is announced to be', 'serve'],
  ['gets', { cutAfter: 250_000 }],
] as const)('what %s larger than maxBytes is refused, and not kept', async (_, behaviour) => {
  const { url } = await artifactServer(content, [behaviour])
  const { fetch, files } = fetching()
  await expect(fetch({ url, maxBytes: 200_000 })).rejects.toMatchObject({
    code: 'INVALID_MODEL',
    message: 'the artifact is larger than 200000 bytes (maxBytes).',
  })
  expect(files()).toEqual([])
})

it('messages say nothing of the address, and the cause does, without what may be a secret', async () => {
  const { url, close } = await artifactServer(content)
  await close()
  const failure = await fetching()
    .fetch({ url })
    .catch((error: unknown) => error as Error)
  expect(failure).toMatchObject({
    code: 'SOURCE_UNAVAILABLE',
    message: 'the artifact could not be fetched: ECONNREFUSED',
  })
  const { cause } = failure as Error
  expect((cause as Error).message).toContain('/model.onnx')
  expect((cause as Error).message).not.toContain('secret')
})

describe('a redirect', () => {
  it('is followed, and headers stay with the host they are for', async () => {
    const target = await artifactServer(content)
    const first = await artifactServer(content, [{ redirect: target.url }])
    await fetching().fetch({ url: first.url, headers: { authorization: 'Bearer x' } })
    expect(first.requests[0]?.headers.authorization).toBe('Bearer x')
    expect(target.requests[0]?.headers.authorization).toBeUndefined()
  })

  it.each(['http://models.example.com/x', 'file:///etc/passwd'])('to %s is refused', async (redirect) => {
    const { url } = await artifactServer(content, [{ redirect }])
    await expect(fetching().fetch({ url })).rejects.toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      message: expect.stringContaining('not https') as string,
    })
  })

  it('in a circle ends', async () => {
    const { url, requests } = await artifactServer(content, [{ redirect: '/again' }])
    await expect(fetching().fetch({ url })).rejects.toThrow(/redirected more than 5 times/)
    expect(requests).toHaveLength(6)
  })
})

it('a server that sends nothing any more is given up, and what came is kept', async () => {
  const clock = new ManualClock()
  const { url, requests } = await artifactServer(content, ['hang'])
  const { fetch } = fetching(undefined, clock)
  const failed = expect(fetch({ url })).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' })
  while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  clock.advance(30_000)
  await failed
})

it('a close ends a fetch', async () => {
  const { url, requests } = await artifactServer(content, ['hang'])
  const { fetch, closing } = fetching()
  const failed = expect(fetch({ url })).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' })
  while (requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  closing.abort()
  await failed
})

it('a folder that can not be written is told', async () => {
  const { url } = await artifactServer(content)
  const file = join(temporaryRepository({ file: '' }), 'file')
  await expect(fetching(file).fetch({ url })).rejects.toMatchObject({
    code: 'SOURCE_UNAVAILABLE',
    message: expect.stringMatching(/could not be kept on disk \(ENOTDIR\): give a stateDir/) as string,
  })
  expect(existsSync(dirname(file))).toBe(true)
})

it.each([
  ['https://models.example.com/m.onnx', true],
  ['http://localhost:8000/m.onnx', true],
  ['http://127.0.0.1/m.onnx', true],
  ['http://[::1]/m.onnx', true],
  ['http://models.example.com/m.onnx', false],
  ['http://localhost.example.com/m.onnx', false],
  ['http://127.0.0.1.example.com/m.onnx', false],
  ['https://user:password@models.example.com/m.onnx', false],
  ['ftp://localhost/m.onnx', false],
])('%s may be fetched from: %s', (url, expected) => {
  expect(isAllowed(new URL(url))).toBe(expected)
})
