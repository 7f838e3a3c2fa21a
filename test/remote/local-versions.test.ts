import { statSync } from 'node:fs'
import { createServing, type Json, type OutputSpec, type ServingOptions } from 'mlserving'
import { float32 } from 'mlserving/client'
import { remote, type RemoteOptions } from 'mlserving/remote'
import { expect, it, onTestFinished } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { V2Server } from './v2-server.js'

const folder = temporaryFolder()
writeInto(folder, 'm/1/model.onnx', identityModel({ shape: ['n', 2] }))
const source = `${folder}/m/1`
const input = { x: [1, 2] }

/** A serving of a model whose version `here` gives back its input, and whose version `there` lies on a server. */
async function servingOf(
  server: V2Server,
  options: Partial<RemoteOptions<Json, unknown, OutputSpec, Json>> = {},
  more: ServingOptions = {},
) {
  const model = remote({
    model: 'm',
    remoteVersions: { here: { source }, there: { urls: [server.url] } },
    current: 'here',
    local: { placement: 'inline' },
    healthIntervalMs: 0,
    retries: 0,
    ...options,
  })
  const serving = createServing({ models: { m: model }, logger: quietLogger(), ...more })
  onTestFinished(() => serving.close())
  await serving.ready()
  const ask = async () => {
    const { prediction, meta } = await serving.predict('m', input)
    return [meta.version, prediction]
  }
  return { serving, ask }
}

it('a model goes from this process to a server, and back', async () => {
  const server = await V2Server.start(['2'])
  const { serving, ask } = await servingOf(server)
  expect(await ask()).toEqual(['here', [1, 2]])
  await serving.models.canary('m', { version: 'there', percent: 100 })
  expect(await ask()).toEqual(['there', [2, 4]])
  await serving.models.endCanary('m')
  expect(await ask()).toEqual(['here', [1, 2]])
  await serving.models.switchVersion('m', 'there')
  expect(await ask()).toEqual(['there', [2, 4]])
  const placements = serving.models.get('m').versions.map(({ version, placement }) => [version, placement])
  expect(Object.fromEntries(placements)).toEqual({ here: 'inline', there: 'remote' })
  await serving.models.rollback('m')
  expect(await ask()).toEqual(['here', [1, 2]])
})

it('the same code makes inputs and answers of both', async () => {
  const server = await V2Server.start(['2'])
  const model = remote({
    model: 'm',
    remoteVersions: { here: { source }, there: { urls: [server.url] } },
    encode: ({ text }: { text: string }) => ({ x: float32([text.length, 0], [1, 2]) }),
    decode: ({ y }) => Number(y?.data[0]),
    cache: true,
  })
  await using serving = createServing({ models: { m: model }, logger: quietLogger() })
  await serving.ready()
  await serving.models.load('m', 'here')
  const answers = { here: 3, there: 6 }
  for (const [version, prediction] of Object.entries(answers))
    expect((await serving.predict('m', { text: 'abc' }, { version })).prediction).toBe(prediction)
})

it('a server is given copies of the requests, whose answers are compared', async () => {
  const server = await V2Server.start(['1'])
  const { serving, ask } = await servingOf(server)
  const shadow = () => serving.models.get('m').shadow
  await serving.models.shadow('m', { version: 'there', fraction: 1 })
  expect(await ask()).toEqual(['here', [1, 2]])
  await expect.poll(shadow).toMatchObject({ agreed: 1, disagreed: 0 })
  server.versions[0] = '3'
  expect(await ask()).toEqual(['here', [1, 2]])
  await expect.poll(shadow).toMatchObject({ agreed: 1, disagreed: 1, failed: 0 })
  server.fault = 'busy'
  await ask()
  await expect.poll(shadow).toMatchObject({ failed: 1 })
})

it('a rollout to a server that fails ends here', async () => {
  const server = await V2Server.start(['2'])
  const { serving, ask } = await servingOf(server, { circuit: { failures: 1000 } })
  await serving.models.startRollout('m', { version: 'there', steps: [50], minStepMs: 0, minRequests: 20 })
  server.fault = 'busy'
  for (let i = 0; i < 200 && serving.models.rolloutOf('m')?.phase === 'running'; i++)
    await ask().catch(() => {})
  expect(serving.models.rolloutOf('m')).toMatchObject({ phase: 'rolled-back' })
  for (let i = 0; i < 10; i++) expect(await ask()).toEqual(['here', [1, 2]])
})

it('golden cases are held against both', async () => {
  const { serving } = await servingOf(await V2Server.start(['2']))
  const cases = [{ input, expected: { prediction: [1, 2] } }]
  expect(await serving.models.validate('m', 'here', cases)).toMatchObject({ passed: 1 })
  expect(await serving.models.validate('m', 'there', cases)).toMatchObject({ passed: 0 })
  const report = await serving.models.compare('m', 'here', 'there', [input])
  expect(report).toMatchObject({ a: { bytes: expect.any(Number) }, b: { bytes: undefined } })
})

it('what is wrong with files here is no matter to the versions on servers', async () => {
  const server = await V2Server.start(['2'])
  const remoteVersions = { here: { source: `${folder}/none` }, there: { urls: [server.url] } }
  const { serving, ask } = await servingOf(server, { remoteVersions, current: 'there' })
  expect(await ask()).toEqual(['there', [2, 4]])
  await expect(serving.models.load('m', 'here')).rejects.toThrow(`${folder}/none could not be read`)
  expect(await ask()).toEqual(['there', [2, 4]])
})

it('only what is here counts against the limits of memory', async () => {
  const server = await V2Server.start(['2'])
  const { serving, ask } = await servingOf(
    server,
    { current: 'there', keepPrevious: 0 },
    { memoryLimitBytes: 1 },
  )
  expect(await ask()).toEqual(['there', [2, 4]])
  await expect(serving.models.load('m', 'here')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
})

it('each of its sessions here counts', async () => {
  const server = await V2Server.start(['2'])
  const { size } = statSync(`${source}/model.onnx`)
  const { serving } = await servingOf(
    server,
    { current: 'there', local: { placement: 'thread', instances: 4 } },
    { memoryLimitBytes: 4 * size },
  )
  await expect(serving.models.load('m', 'here')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
})

it('what is here is not loaded again by its name from other bytes', async () => {
  const server = await V2Server.start(['2'])
  const own = temporaryFolder()
  writeInto(own, 'model.onnx', identityModel({ shape: ['n', 2] }))
  const remoteVersions = { here: { source: own }, there: { urls: [server.url] } }
  const { serving } = await servingOf(server, { remoteVersions, keepPrevious: 0 })
  await serving.models.switchVersion('m', 'there')
  const state = () => serving.models.get('m').versions.find(({ version }) => version === 'here')?.state
  await expect.poll(state).toBe('unloaded')
  writeInto(own, 'model.onnx', identityModel({ shape: ['rows', 2] }))
  await expect(serving.models.rollback('m')).rejects.toThrow('has changed since it was loaded')
})

it.each([
  [{ remoteVersions: { a: { source, urls: ['http://b'] } } }, '"a" has a source, and is served here'],
  [{ remoteVersions: { a: { source }, b: {} } }, 'url or urls is missing'],
  [{ remoteVersions: { a: { source } }, local: { placement: 'inline', instances: 2 } }, 'local: 2 instances'],
  [{ url: 'http://a', local: { placement: 'there' } }, 'local: placement must be'],
])('remote() refuses %j', (options, message) => {
  expect(() => remote({ model: 'm', ...(options as object) })).toThrow(message)
})
