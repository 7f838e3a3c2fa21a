import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServing, custom, type ModelChange, type ReplicaOptions } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'

const versions = { '1/x': '', '2/x': '', '3/x': '' }

interface Setting extends ReplicaOptions {
  readonly stateDir: string
  /** The folder of the model's versions. Default: one of its own, with 1, 2 and 3. */
  readonly source?: string
  /** Versions that fail to load. */
  readonly broken?: readonly string[]
}

async function replica({
  stateDir,
  source = temporaryRepository(versions),
  broken = [],
  ...options
}: Setting) {
  const logger = quietLogger()
  const serving = createServing({
    models: {
      m: custom({
        source,
        current: '1',
        load: ({ version }) => {
          if (broken.includes(version)) throw new Error(`${version} is broken`)
          return version
        },
        run: (version, rows: number[]) => rows.map(() => version),
      }),
    },
    stateDir,
    replicas: { intervalMs: 20, deadAfterIntervals: 1000, waitMs: 5_000, ...options },
    logger,
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  // The others wait for it once it has told what it has.
  while (
    (await serving.models.replicas?.live().catch(() => []))?.some(
      ({ id, models }) => !id.startsWith('dead') && (models.m?.loaded.length ?? 0) === 0,
    )
  )
    await sleep(5)
  const changes: ModelChange[] = []
  serving.models.onChange((change) => changes.push(change))
  const { models } = serving
  const current = () => models.get('m').current
  const serves = async (version: string) => {
    while (current() !== version) await sleep(5)
  }
  const isReady = async (version: string) => {
    while (models.get('m').versions.find((one) => one.version === version)?.state !== 'ready') await sleep(5)
  }
  return { serving, models, changes, current, serves, isReady, logger, source }
}

const folder = () => temporaryRepository({})
const stateIn = (stateDir: string) => JSON.parse(readFileSync(join(stateDir, 'state.json'), 'utf8'))

test('a switch by one is one of all, each of which tells of it, with who asked for it', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.switchVersion('m', '2', { actor: 'ann', reason: 'better' })
  await b.serves('2')
  const change = {
    action: 'switch',
    model: 'm',
    from: '1',
    to: '2',
    actor: 'ann',
    reason: 'better',
    result: 'success',
  }
  await sleep(60)
  expect(a.changes).toMatchObject([change])
  expect(b.changes).toMatchObject([change])
})

test('the others have loaded a version before anyone switches to it', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  const switching = a.models.switchVersion('m', '2')
  await b.isReady('2')
  await switching
  expect(b.models.get('m').versions.find(({ version }) => version === '2')?.state).toBe('ready')
})

test('a rollback by another goes back for all, and a restart does not undo it', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.switchVersion('m', '2')
  await a.models.switchVersion('m', '3')
  await b.serves('3')
  expect(await b.models.rollback('m')).toEqual({ version: '2', from: '3', reloaded: false })
  await a.serves('2')
  expect(stateIn(stateDir).models.m).toMatchObject({ current: '2', history: ['1', '2'], pinned: true })
  await Promise.all([a.serving.close(), b.serving.close()])
  const c = await replica({ stateDir })
  expect(c.current()).toBe('2')
  await c.models.rollback('m')
  expect(c.current()).toBe('1')
  await expect(c.models.rollback('m')).rejects.toMatchObject({ code: 'CONFLICT' })
})

test('a switch that a replica can not follow changes nothing, and says which and why', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir, broken: ['2'] })]
  await expect(a.models.switchVersion('m', '2')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringMatching(/^the replica .* can't load m@2: .*2 is broken/),
  })
  expect([a.current(), b.current()]).toEqual(['1', '1'])
  expect(stateIn(stateDir).models.m).not.toHaveProperty('pending')
  await a.models.switchVersion('m', '3')
  await b.serves('3')
})

test('a folder that comes late to a replica is waited for', async () => {
  const stateDir = folder()
  const late = temporaryRepository({ '1/x': '' })
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir, source: late })]
  const switching = a.models.switchVersion('m', '2')
  await sleep(100)
  expect(a.current()).toBe('1')
  writeInto(late, '2/x', '')
  await switching
  await b.serves('2')
})

test('after waitMs a switch is aborted, or committed where the option says so', async () => {
  const stateDir = folder()
  const late = temporaryRepository({ '1/x': '' })
  const b = await replica({ stateDir, source: late })
  const careful = await replica({ stateDir, waitMs: 100 })
  await expect(careful.models.switchVersion('m', '2')).rejects.toMatchObject({ code: 'TIMEOUT' })
  expect(careful.current()).toBe('1')
  const bold = await replica({ stateDir, waitMs: 100, onTimeout: 'commit' })
  await bold.models.switchVersion('m', '2')
  await careful.serves('2')
  expect(b.current()).toBe('1')
  writeInto(late, '2/x', '')
  await b.serves('2')
})

test('a version that fails here is refused before anyone hears of it', async () => {
  const stateDir = folder()
  const a = await replica({ stateDir, broken: ['2'] })
  await expect(a.models.switchVersion('m', '2')).rejects.toMatchObject({
    message: expect.stringContaining('2 is broken'),
  })
  expect(existsSync(join(stateDir, 'state.json'))).toBe(false)
})

test('of two switches at once one is done, and all end on its version', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  const results = await Promise.allSettled([
    a.models.switchVersion('m', '2'),
    b.models.switchVersion('m', '3'),
  ])
  const done = results.filter(({ status }) => status === 'fulfilled')
  expect(done.length).toBeGreaterThan(0)
  const { current } = stateIn(stateDir).models.m
  await Promise.all([a.serves(current), b.serves(current)])
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'CONFLICT' })
  }
})

test('switches of one replica at once are done one after another', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await Promise.all(['2', '3', '1', '2'].map((version) => a.models.switchVersion('m', version)))
  expect(stateIn(stateDir).models.m.history).toEqual(['1', '2', '3', '1', '2'])
  await b.serves('2')
})

test('a version is loaded and unloaded by all, and loaded again after a restart', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.load('m', '3')
  await b.isReady('3')
  const c = await replica({ stateDir })
  await c.isReady('3')
  await b.models.unload('m', '3')
  while (a.models.get('m').versions.find(({ version }) => version === '3')?.state !== 'unloaded')
    await sleep(5)
  expect(stateIn(stateDir).models.m.loaded).toEqual([])
})

test('a replica that is dead is not waited for, and its change is void', async () => {
  const stateDir = folder()
  const a = await replica({ stateDir, intervalMs: 50, deadAfterIntervals: 4 })
  const dead = join(stateDir, 'replicas', 'dead.json')
  writeInto(stateDir, 'replicas/dead.json', { id: 'dead', models: { m: { loaded: ['1'], failed: {} } } })
  utimesSync(dead, Date.now() / 1000 - 60, Date.now() / 1000 - 60)
  await a.models.switchVersion('m', '2')
  const state = stateIn(stateDir)
  state.generation++
  state.models.m.pending = { id: 'x', replica: 'dead', version: '3' }
  writeFileSync(join(stateDir, 'state.json'), JSON.stringify(state))
  await sleep(120)
  expect(a.models.get('m').versions.find(({ version }) => version === '3')?.state).toBe('registered')
  await a.models.switchVersion('m', '3')
  expect(stateIn(stateDir).models.m).toMatchObject({ current: '3' })
  expect(stateIn(stateDir).models.m).not.toHaveProperty('pending')
})

test('a broken state is told, changes nothing, and is followed again once it is mended', async () => {
  const stateDir = folder()
  const a = await replica({ stateDir })
  await a.models.switchVersion('m', '2')
  const sound = readFileSync(join(stateDir, 'state.json'), 'utf8')
  writeFileSync(join(stateDir, 'state.json'), sound.slice(0, 40))
  while (a.serving.readiness().warnings === undefined) await sleep(5)
  expect(a.serving.readiness()).toMatchObject({
    status: 'ready',
    warnings: [expect.stringContaining('state file')],
  })
  expect(a.logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1)
  await expect(a.models.switchVersion('m', '3')).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(a.current()).toBe('2')

  const b = await replica({ stateDir })
  expect(b.current()).toBe('1')
  expect(b.serving.readiness()).toMatchObject({ status: 'ready', warnings: [expect.any(String)] })

  writeFileSync(join(stateDir, 'state.json'), sound)
  await b.serves('2')
  while (a.serving.readiness().warnings !== undefined) await sleep(5)
  await a.models.switchVersion('m', '3')
  await b.serves('3')
})

test('a state that was removed begins anew', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.switchVersion('m', '2')
  await b.serves('2')
  rmSync(join(stateDir, 'state.json'))
  await sleep(80)
  expect([a.current(), b.current()]).toEqual(['2', '2'])
  await b.models.switchVersion('m', '3')
  await a.serves('3')
})

test('a folder that can not be made is told, and the process serves by configuration', async () => {
  const stateDir = join(temporaryRepository({ file: '' }), 'file', 'below')
  const a = await replica({ stateDir })
  expect(a.current()).toBe('1')
  expect(a.serving.readiness()).toMatchObject({ status: 'ready', warnings: [expect.any(String)] })
  await expect(a.models.switchVersion('m', '2')).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(a.current()).toBe('1')
})

test('a version that one has put in quarantine can be switched to by none, nor be given a label or a share', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.setLabel('m', 'stable', '1')
  await a.models.quarantine('m', '3', 'it is slow', { actor: 'guard' })
  const isOut = () => b.models.get('m').versions.find(({ version }) => version === '3')?.quarantined
  await expect.poll(isOut).toBe('it is slow')
  const refused = { code: 'CONFLICT', message: expect.stringContaining('slow') as string }
  for (const { models } of [a, b]) {
    await expect(models.switchVersion('m', '3')).rejects.toMatchObject(refused)
    await expect(models.setLabel('m', 'x', '3')).rejects.toMatchObject(refused)
    await expect(models.canary('m', { version: '3', percent: 5 })).rejects.toMatchObject(refused)
  }
  await b.models.switchVersion('m', '2')
  expect(stateIn(stateDir).models.m).toMatchObject({ labels: { stable: '1' }, quarantined: { 3: {} } })
  await expect
    .poll(() => b.changes)
    .toContainEqual(
      expect.objectContaining({ action: 'quarantine', to: '3', actor: 'guard', reason: 'it is slow' }),
    )
  await b.models.release('m', '3')
  await expect
    .poll(() => a.models.get('m').versions.some(({ quarantined }) => quarantined !== undefined))
    .toBe(false)
})

test('labels and canaries of others are told with who set them, but not those that a replica starts with', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir })]
  await a.models.setLabel('m', 'stable', '1', { actor: 'ann', reason: 'ticket 7' })
  await expect
    .poll(() => b.changes)
    .toMatchObject([{ action: 'label', to: '1', actor: 'ann', reason: 'ticket 7' }])
  await b.models.canary('m', { version: '2', percent: 5 }, { actor: 'bob' })
  await expect.poll(() => a.changes.at(-1)).toMatchObject({ action: 'canary', to: '2', actor: 'bob' })
  await b.models.endCanary('m')
  await expect.poll(() => a.models.get('m').canary).toBeUndefined()
  expect(a.changes).toHaveLength(3)

  const c = await replica({ stateDir })
  await expect.poll(() => c.models.get('m').labels).toEqual({ stable: '1' })
  await sleep(60)
  expect(c.changes).toEqual([])
})

test('a change that can not be written changes nothing here either', async () => {
  const stateDir = folder()
  const a = await replica({ stateDir })
  await a.models.setLabel('m', 'stable', '1')
  writeFileSync(join(stateDir, 'state.json'), '{')
  for (const change of [
    a.models.setLabel('m', 'stable', '2'),
    a.models.removeLabel('m', 'stable'),
    a.models.canary('m', { version: '2', percent: 5 }),
    a.models.quarantine('m', '3', 'slow'),
    a.models.startRollout('m', { version: '2' }),
  ]) {
    await expect(change).rejects.toMatchObject({ code: 'CONFLICT' })
  }
  expect(a.models.get('m')).toMatchObject({ current: '1', labels: { stable: '1' } })
  expect(a.models.get('m').canary).toBeUndefined()
  expect(a.models.rolloutOf('m')).toBeUndefined()
  expect(a.models.get('m').versions.every(({ quarantined }) => quarantined === undefined)).toBe(true)
})

test('what can not be followed keeps nothing else from it', async () => {
  const stateDir = folder()
  const [a, b] = [await replica({ stateDir }), await replica({ stateDir, broken: ['2'] })]
  await a.models.canary('m', { version: '2', percent: 5 })
  await a.models.setLabel('m', 'candidate', '2')
  await a.models.setLabel('m', 'stable', '3')
  await expect.poll(() => b.models.get('m').labels).toEqual({ stable: '3' })
  const live = await b.models.replicas?.live()
  expect(live?.find(({ id }) => id === b.models.replicas?.id)?.models.m?.failed).toMatchObject({
    2: { message: expect.stringContaining('2 is broken') as string },
  })
  await a.models.quarantine('m', '2', 'slow')
  await a.models.setLabel('m', 'candidate', '1')
  await expect.poll(() => b.models.get('m').labels).toEqual({ stable: '3', candidate: '1' })
})

test('readiness tells the generation; without a folder there is none', async () => {
  const a = await replica({ stateDir: folder() })
  expect(a.serving.readiness()).toMatchObject({ generation: 0 })
  await a.models.switchVersion('m', '2')
  expect(a.serving.readiness().generation).toBeGreaterThan(0)
})

test('one that closes while it waits for others leaves everything as it was', async () => {
  const stateDir = folder()
  const b = await replica({ stateDir, source: temporaryRepository({ '1/x': '' }) })
  const a = await replica({ stateDir, waitMs: 60_000 })
  const switching = a.models.switchVersion('m', '2')
  await sleep(60)
  const refused = expect(switching).rejects.toMatchObject({ code: 'CLOSED' })
  await a.serving.close()
  await refused
  expect(b.current()).toBe('1')
  expect(stateIn(stateDir).models.m).not.toHaveProperty('pending')
})

test('a replica that can not tell the others of itself says so, and what it is', async () => {
  const stateDir = temporaryRepository({ replicas: 'a file where a folder should be' })
  const a = await replica({ stateDir })
  const { status, warnings } = a.serving.readiness()
  expect({ status, warnings }).toEqual({
    status: 'ready',
    warnings: [expect.stringMatching(/^the other replicas do not know of this one.*: E\w+/)],
  })
  expect(warnings?.join()).not.toContain(stateDir)
  await sleep(60)
  expect(a.logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1)
  rmSync(join(stateDir, 'replicas'))
  mkdirSync(join(stateDir, 'replicas'))
  while (a.serving.readiness().warnings !== undefined) await sleep(5)
})
