import { expect, onTestFinished, test } from 'vitest'
import { createServing, custom, pipeline } from 'mlserving'
import { Canary, positionOf } from '../../src/models/canary.js'
import { asAny, Gate } from '../contract/serving.js'
import { bundle, start } from '../execution/program.js'
import { temporaryFolder } from '../execution/support.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'
import { versionOf, versionsOfCode } from './versions-of-code.js'

const keys = Array.from({ length: 100_000 }, (_, i) => `user-${i}`)
const noChance = () => {
  throw new Error('a key leaves nothing to chance')
}
const shareOf = (percent: number) => new Canary('m', { version: '2', percent }, noChance)
const membersOf = (percent: number) => keys.filter((key) => shareOf(percent).takes(key))

/** How far a count may be from what is expected of so many independent draws: five standard deviations. */
const within = (count: number, draws: number, ratio: number) =>
  expect(Math.abs(count - draws * ratio)).toBeLessThan(5 * Math.sqrt(draws * ratio * (1 - ratio)))

test('a canary of 5 % has 5 % of 100,000 keys, spread evenly', () => {
  within(membersOf(5).length, keys.length, 0.05)
  const deciles = new Array<number>(10).fill(0)
  for (const key of keys) {
    const decile = Math.floor(positionOf('m', key) * 10)
    deciles[decile] = (deciles[decile] ?? 0) + 1
  }
  for (const count of deciles) within(count, keys.length, 0.1)
})

test('a share that grows keeps the keys it had; one of 100 % has all, one of 0 % none', () => {
  let before = new Set<string>()
  for (const percent of [0, 0.5, 5, 25, 60, 100]) {
    const members = new Set(membersOf(percent))
    for (const key of before) expect(members.has(key)).toBe(true)
    before = members
  }
  expect(before.size).toBe(keys.length)
  expect(membersOf(0)).toEqual([])
})

test('of two models each has members of its own', () => {
  const both = keys.filter((key) => positionOf('a', key) < 0.05 && positionOf('b', key) < 0.05)
  within(both.length, keys.length, 0.05 * 0.05)
})

test('where a key lies is fixed: replicas of other versions of this package agree', () => {
  // The first 53 bits of `printf 'm\0user-1' | sha256sum`, by 2^53.
  expect(positionOf('m', 'user-1')).toBe(0.44406708680436036)
})

test('three processes send the same keys to the canary', async () => {
  const program = await bundle('canary-share', temporaryFolder())
  const source = temporaryRepository({ '1/about': '', '2/about': '' })
  const ends = await Promise.all([1, 2, 3].map(() => start(program, [source]).ended))
  const [first, ...others] = ends.map(({ stdout }) => JSON.parse(stdout) as string[])
  expect(first).toEqual(keys.slice(0, 2000).filter((key) => shareOf(5).takes(key)))
  for (const other of others) expect(other).toEqual(first)
})

test('requests of one key stay on one version, and meta says which', async () => {
  const { serving } = versionsOfCode()
  const { canary } = await serving.models.canary('m', { version: '2', percent: 30 })
  expect(canary).toEqual({ version: '2', percent: 30 })
  for (const key of keys.slice(0, 40)) {
    const expected = shareOf(30).takes(key) ? '2' : '1'
    for (let repeat = 0; repeat < 3; repeat++) expect(await versionOf(serving, { key })).toBe(expected)
    expect(await versionOf(serving, { key, version: 'latest' })).toBe(expected)
    expect(await versionOf(serving, { key, version: '1' })).toBe('1')
  }
})

test('requests without a key go by chance', async () => {
  const { serving } = versionsOfCode()
  await serving.models.canary('m', { version: '2', percent: 25 })
  const versions = await Promise.all(
    Array.from({ length: 4000 }, () => versionOf(serving, { whenFull: 'wait' })),
  )
  within(versions.filter((version) => version === '2').length, versions.length, 0.25)

  const draws = [0.0499, 0.05, 0.9]
  const canary = new Canary('m', { version: '2', percent: 5 }, () => draws.shift() ?? 1)
  expect([1, 2, 3].map(() => canary.takes(undefined))).toEqual([true, false, false])
})

test('endCanary sends all to the current version again, and frees what was loaded for it', async () => {
  const { serving } = versionsOfCode()
  await serving.models.canary('m', { version: '2', percent: 100 })
  expect(await versionOf(serving)).toBe('2')
  await expect(serving.models.unload('m', '2')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: "m@2 can't be unloaded: it is the canary: end that first.",
  })
  const { canary } = await serving.models.endCanary('m')
  expect(canary).toBeUndefined()
  expect(await versionOf(serving)).toBe('1')
  const stateOf2 = () => serving.models.get('m').versions.find(({ version }) => version === '2')?.state
  await expect.poll(stateOf2).toBe('unloaded')
  await serving.models.endCanary('m') // there is none: nothing to be done
})

test('endCanary takes its share at once, whatever load is under way', async () => {
  const gate = new Gate()
  const m = custom({
    source: temporaryRepository({ '1/about': '', '2/about': '', '3/about': '' }),
    current: '1',
    load: async ({ version }) => {
      if (version === '3') await gate.opened
      return version
    },
    run: (version, rows: string[]) => rows.map(() => version),
  })
  const serving = asAny(createServing({ models: { m }, logger: quietLogger() }))
  onTestFinished(() => serving.close())
  await serving.models.canary('m', { version: '2', percent: 100 })
  expect(await versionOf(serving)).toBe('2')
  const loaded = serving.models.load('m', '3')
  const ended = serving.models.endCanary('m')
  await expect.poll(() => versionOf(serving)).toBe('1')
  gate.open()
  await Promise.all([loaded, ended])
  expect(await versionOf(serving)).toBe('1')
})

test('a version that is switched to is no canary any more, and one that serves can be none', async () => {
  const { serving } = versionsOfCode()
  await serving.models.canary('m', { version: '2', percent: 5 })
  expect((await serving.models.switchVersion('m', '2')).canary).toBeUndefined()
  await expect(serving.models.canary('m', { version: '2', percent: 5 })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: 'm@2 serves: the canary must be another version.',
  })
})

test('a canary that can not be loaded changes nothing', async () => {
  const { serving } = versionsOfCode()
  await serving.models.canary('m', { version: '2', percent: 5 })
  const wrong = serving.models.canary('m', { version: '9', percent: 50 })
  await expect(wrong).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
  expect(serving.models.get('m').canary).toEqual({ version: '2', percent: 5 })
})

test.each([
  [{ version: '2', percent: 101 }, 'percent must be a number from 0 to 100'],
  [{ version: '2', percent: NaN }, 'percent must be a number from 0 to 100'],
  [{ version: '2' }, 'percent is missing'],
  [{ percent: 5 }, 'version is missing'],
  [{ version: '2', precent: 5 }, 'Did you mean "percent"?'],
])('%j is no canary', async (options, message) => {
  const { serving } = versionsOfCode()
  await serving.ready()
  await expect(serving.models.canary('m', options as never)).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
    message: expect.stringContaining(message) as string,
  })
})

test('a fallback and the stages of a pipeline have the key of their caller', async () => {
  const source = temporaryRepository({ '1/about': '', '2/about': '' })
  const versioned = custom({
    source,
    current: '1',
    load: ({ version }) => version,
    run: (version, rows: string[]) => rows.map(() => version),
  })
  const failing = custom({
    fallback: 'm',
    load: () => undefined,
    run: () => {
      throw new Error('never')
    },
  })
  const serving = createServing({
    models: {
      m: versioned,
      failing,
      chain: pipeline((input: string, { predict }) => predict('m', input)),
    },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  await serving.models.canary('m', { version: '2', percent: 50 })
  for (const key of keys.slice(0, 20)) {
    const expected = shareOf(50).takes(key) ? '2' : '1'
    expect((await serving.predict('failing', 'x', { key })).meta).toMatchObject({
      version: expected,
      degraded: 'fallback',
    })
    expect((await serving.predict('chain', 'x', { key })).meta.stages).toMatchObject([{ version: expected }])
  }
})
