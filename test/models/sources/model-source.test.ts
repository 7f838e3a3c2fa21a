import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { createServing, onnx, type ModelSource } from 'mlserving'
import { expect, it, onTestFinished } from 'vitest'
import { mlp } from '../../onnx/models.js'
import { quietLogger } from '../quiet-logger.js'
import { temporaryRepository } from '../temporary-repository.js'
import { artifactServer } from './artifact-server.js'

const bytes = mlp([2, 2])
const sha256 = createHash('sha256').update(bytes).digest('hex')

function serve(source: ModelSource, stateDir = temporaryRepository({})) {
  const logger = quietLogger()
  const serving = createServing({ models: { m: onnx({ source }) }, stateDir, logger })
  onTestFinished(() => serving.close())
  return { serving, stateDir, logger }
}

it('the bytes of a model are served, and loaded again where the cache was emptied', async () => {
  const { serving, stateDir } = serve(bytes)
  const { meta } = await serving.predict('m', { x: [1, 2] })
  expect(meta.version).toBe('1')
  await serving.models.unload('m')
  rmSync(join(stateDir, 'artifacts'), { recursive: true })
  await serving.models.load('m', '1')
  await serving.predict('m', { x: [1, 2] })
})

it('bytes that were changed stay what they were, and are refused where they are needed again', async () => {
  const own = Uint8Array.from(bytes)
  const { serving, stateDir } = serve(own)
  await serving.ready()
  await serving.models.unload('m')
  own.fill(0)
  await serving.models.load('m', '1')
  await serving.models.unload('m')
  rmSync(join(stateDir, 'artifacts'), { recursive: true })
  await expect(serving.models.load('m', '1')).rejects.toThrow(/the bytes .* were changed/)
})

it('bytes of another realm are taken', async () => {
  const foreign = runInNewContext('Uint8Array.from(list)', { list: [...bytes] }) as Uint8Array
  await serve(foreign).serving.ready()
})

it('bytes that are no model are told, and not shown', async () => {
  const { serving, logger } = serve(new Uint8Array([1, 2, 3]))
  await expect(serving.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  expect(JSON.stringify(logger.entries)).not.toMatch(/1,\s*2,\s*3/)
})

it('a model is fetched from a server and served', async () => {
  const { url } = await artifactServer(bytes, [{ cutAfter: 100 }, 'serve'])
  const { serving } = serve({ url, sha256 })
  await serving.predict('m', { x: [1, 2] })
  expect(serving.models.get('m').versions).toMatchObject([{ version: '1', sha256 }])
})

it('a server that is away for a while is tried again', async () => {
  const { url, requests } = await artifactServer(bytes, [{ status: 503 }, 'serve'])
  const { serving } = serve({ url, sha256 })
  await expect(serving.ready()).rejects.toThrow(/the server answered 503/)
  while (serving.readiness().status !== 'ready') await new Promise((resolve) => setTimeout(resolve, 20))
  expect(requests).toHaveLength(2)
})

it('a version is loaded from bytes and from an address beside one from a file', async () => {
  const root = temporaryRepository({ 'm.onnx': mlp([2, 2], 1) })
  const second = mlp([2, 2], 2)
  const { url } = await artifactServer(second)
  const { serving } = serve(join(root, 'm.onnx'))
  await serving.models.load('m', '2', { source: bytes })
  const digest = createHash('sha256').update(second).digest('hex')
  await serving.models.load('m', '3', { source: { url, sha256: digest }, activate: true })
  expect(serving.models.get('m').versions.map(({ version, state }) => `${version} ${state}`)).toEqual([
    '3 ready',
    '2 ready',
    '1 ready',
  ])
  expect((await serving.predict('m', { x: [1, 2] })).meta.version).toBe('3')
})

it.each([
  [
    { url: 'http://models.example.com/m.onnx', sha256 },
    /onnx\(\): source\.url must be an https:\/\/ address/,
  ],
  [{ url: 'nowhere', sha256 }, /source\.url must be an https:\/\/ address/],
  [
    { url: 'https://models.example.com/m.onnx' },
    /source\.sha256 is missing; it must be 64 hexadecimal digits/,
  ],
  [
    { url: 'https://models.example.com/m.onnx', sha256: 'abc' },
    /source: sha256 must be 64 hexadecimal digits/,
  ],
  [{ url: 'https://models.example.com/m.onnx', sha: sha256 }, /unknown option "sha"/],
  [
    { url: 'https://models.example.com/m.onnx', sha256, headers: { authorization: 'secret\r\nx: y' } },
    /^[^]*"authorization" can't be a header of HTTP by its name or its value\.$/,
  ],
  [42, /source must be a path, the bytes of an \.onnx file, or an object of url and sha256; got 42/],
])('the source %j is refused', (source, message) => {
  expect(() => onnx({ source: source as never })).toThrow(message)
})
