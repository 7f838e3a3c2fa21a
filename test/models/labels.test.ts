import { setImmediate as turn } from 'node:timers/promises'
import { createServing, custom, onnx, pipeline } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { asAny } from '../contract/serving.js'
import { identityModel, mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'
import { versionOf, versionsOfCode } from './versions-of-code.js'

const stateOf = ({ models }: ReturnType<typeof versionsOfCode>['serving'], version: string) =>
  models.get('m').versions.find((each) => each.version === version)?.state

test('a label names a version, which is loaded first, and changes nothing of what serves', async () => {
  const { serving } = versionsOfCode()
  const { labels, current } = await serving.models.setLabel('m', 'candidate', '2')
  expect({ labels, current }).toEqual({ labels: { candidate: '2' }, current: '1' })
  expect(await versionOf(serving, { version: 'candidate' })).toBe('2')
  expect(await versionOf(serving)).toBe('1')
})

test('a label moves only to a version that could be loaded', async () => {
  const { serving } = versionsOfCode()
  await serving.models.setLabel('m', 'stable', '1')
  await expect(serving.models.setLabel('m', 'stable', '9')).rejects.toMatchObject({
    code: 'VERSION_NOT_FOUND',
  })
  expect(serving.models.get('m').labels).toEqual({ stable: '1' })
  expect(await versionOf(serving, { version: 'stable' })).toBe('1')
})

test.each([
  ['latest', 'INVALID_OPTIONS', /"latest" can't name a label/],
  ['two words', 'INVALID_OPTIONS', /can't name a label/],
  ['', 'INVALID_OPTIONS', /can't name a label/],
  ['2', 'CONFLICT', /"2" can't be a label of "m": it is the name of one of its versions/],
])('%j can be no label', async (label, code, message) => {
  const { serving } = versionsOfCode()
  await serving.ready()
  const setting = serving.models.setLabel('m', label, '1')
  await expect(setting).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string })
  expect(serving.models.get('m').labels).toBeUndefined()
})

test('a label is no version: neither is it loaded nor switched to', async () => {
  const { serving } = versionsOfCode()
  await serving.models.setLabel('m', 'next', '2')
  for (const change of [serving.models.load('m', 'next'), serving.models.switchVersion('m', 'next')]) {
    await expect(change).rejects.toMatchObject({
      code: 'CONFLICT',
      message: `"next" is a label of m@2: give the version's own name.`,
    })
  }
})

test('an unknown label is told with those that there are', async () => {
  const { serving } = versionsOfCode()
  await serving.models.setLabel('m', 'stable', '1')
  await expect(versionOf(serving, { version: 'stabel' })).rejects.toMatchObject({
    code: 'VERSION_NOT_FOUND',
    message: expect.stringContaining('Labels: stable.') as string,
  })
  await expect(serving.models.removeLabel('m', 'stabel')).rejects.toMatchObject({ code: 'CONFLICT' })
})

test('labels move under load, and no request fails', async () => {
  const { serving } = versionsOfCode(async (version) => {
    await turn()
    return version
  })
  await serving.models.setLabel('m', 'stable', '1')
  const answered = new Map<string, number>()
  let isMoving = true
  const clients = Array.from({ length: 8 }, async () => {
    while (isMoving) {
      const version = await versionOf(serving, { version: 'stable' })
      answered.set(version, (answered.get(version) ?? 0) + 1)
    }
  })
  for (let move = 0; move < 60; move++) {
    await serving.models.setLabel('m', 'stable', `${(move % 3) + 1}`)
    await turn()
  }
  isMoving = false
  await Promise.all(clients)
  expect([...answered.keys()].sort()).toEqual(['1', '2', '3'])
})

test('a version with a label is neither retired by switches nor unloaded', async () => {
  const { serving } = versionsOfCode(undefined, { keepPrevious: 0 })
  await serving.models.setLabel('m', 'stable', '1')
  await serving.models.switchVersion('m', '2')
  await serving.models.switchVersion('m', '3')
  expect(stateOf(serving, '1')).toBe('ready')
  await expect(serving.models.unload('m', '1')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: `m@1 can't be unloaded: the label "stable" names it: move that first.`,
  })
  expect(await versionOf(serving, { version: 'stable' })).toBe('1')

  await serving.models.setLabel('m', 'stable', '3')
  await expect.poll(() => stateOf(serving, '1')).toBe('unloaded')
})

test('a version that was loaded for a label goes with it, and one that was loaded by call stays', async () => {
  const { serving } = versionsOfCode()
  await serving.models.load('m', '2')
  await serving.models.setLabel('m', 'a', '2')
  await serving.models.setLabel('m', 'b', '3')
  await serving.models.removeLabel('m', 'a')
  await serving.models.removeLabel('m', 'b')
  await expect.poll(() => stateOf(serving, '3')).toBe('unloaded')
  expect(stateOf(serving, '2')).toBe('ready')
})

test('a model that is unloaded as a whole has no labels any more', async () => {
  const { serving } = versionsOfCode()
  await serving.models.setLabel('m', 'stable', '2')
  const { labels, versions } = await serving.models.unload('m')
  expect(labels).toBeUndefined()
  expect(versions.map(({ state }) => state)).not.toContain('ready')
})

test('labels that options state are there once the model is ready, of a lazy one with its first request', async () => {
  const { serving } = versionsOfCode(undefined, { labels: { stable: '1', next: '3' } })
  await serving.ready()
  expect(serving.models.get('m').labels).toEqual({ stable: '1', next: '3' })
  expect(await versionOf(serving, { version: 'next' })).toBe('3')

  const { serving: lazy } = versionsOfCode(undefined, { labels: { next: '2' }, lazy: true })
  expect(await versionOf(lazy, { version: 'next' })).toBe('2')
  expect(lazy.models.get('m').current).toBe('1')
})

test('model.json states labels, and one whose version is broken is told and keeps nothing else from serving', async () => {
  const repository = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': 'no model',
    'm/3/model.onnx': identityModel(),
    'm/model.json': { labels: { stable: '1', next: '2' }, placement: 'inline' },
    'wrong/1/model.onnx': mlp(),
    'wrong/model.json': { labels: { latest: '1' } },
  })
  const logger = quietLogger()
  const serving = createServing({ repository, logger })
  onTestFinished(() => serving.close())
  await expect(serving.ready()).rejects.toThrow(/labels: "latest" can't be a label/)
  expect(serving.models.get('m')).toMatchObject({ current: '3', labels: { stable: '1' } })
  const { meta } = await serving.predict('m', { x: [1, 2, 3] }, { version: 'stable' })
  expect(meta.version).toBe('1')
  const errors = logger.entries.filter(({ level }) => level === 'error').map(({ message }) => message)
  expect(errors).toContainEqual(expect.stringMatching(/^m: the label "next" can't be set: .*model\.onnx/))
})

test('labels are checked where they are stated', () => {
  for (const labels of [{ latest: '1' }, { 'a b': '1' }, { stable: 1 }]) {
    const options = { source: './m', labels } as Parameters<typeof onnx>[0]
    expect(() => onnx(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }) as Error)
  }
})

test('a stage of a pipeline is asked by a label, and what the pipeline keeps ends with a move of it', async () => {
  const source = temporaryRepository({ '1/about': '', '2/about': '' })
  const m = custom({
    source,
    labels: { stable: '1' },
    load: ({ version }) => version,
    run: (version, rows: string[]) => rows.map(() => version),
  })
  const chain = pipeline([{ model: 'm', version: 'stable', input: (input: string) => input }], {
    cache: true,
  })
  const serving = asAny(createServing({ models: { m, chain }, logger: quietLogger() }))
  onTestFinished(() => serving.close())
  await serving.ready()
  for (const version of ['1', '2', '1']) {
    await serving.models.setLabel('m', 'stable', version)
    expect((await serving.predict('chain', 'x')).prediction).toBe(version)
    expect((await serving.predict('chain', 'x')).meta.cache).toBe('hit')
  }
})
