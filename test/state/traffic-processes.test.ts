import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { bundleReplica, eventually, startReplica, stateIn, type ReplicaProcess } from './replica-process.js'

let program: string
const folder = temporaryFolder()
beforeAll(async () => {
  program = await bundleReplica(folder)
})

async function three(stateDir: string): Promise<[ReplicaProcess, ReplicaProcess, ReplicaProcess]> {
  return Promise.all([
    startReplica({ program, stateDir }),
    startReplica({ program, stateDir }),
    startReplica({ program, stateDir }),
  ])
}

test('labels, those of configuration too, are the same in three processes, whoever sets or removes them', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir)
  const [a, b, c] = all
  await a.ask('label candidate 2')
  await b.ask('label configured 3')
  await Promise.all(all.map((one) => one.until('model', { labels: { candidate: '2', configured: '3' } })))
  await c.ask('unlabel configured')
  for (const one of all) {
    await eventually(() => one.told('model')).toMatchObject({ labels: { candidate: '2' } })
    await eventually(() => one.told('model')).not.toHaveProperty('labels.configured')
  }
  expect(await b.ask('unlabel configured')).toBe('CONFLICT')

  await a.end()
  const again = await startReplica({ program, stateDir })
  expect(await again.told('model')).toMatchObject({ current: '1', labels: { candidate: '2' } })
  expect(await again.told('model')).not.toHaveProperty('labels.configured')
})

test('a canary has the same keys in three processes, and in one that is started again', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir)
  const [a, b] = all
  expect(await a.told('canary 2 30')).toEqual({ version: '2', percent: 30 })
  await Promise.all(
    all.map((one) => one.until('model', { current: '1', canary: { version: '2', percent: 30 } })),
  )
  const keys = (await a.told('keys 500')) as number[]
  expect(keys.length).toBeGreaterThan(100)
  expect(keys.length).toBeLessThan(200)
  for (const one of all) expect(await one.told('keys 500')).toEqual(keys)

  await a.kill()
  const again = await startReplica({ program, stateDir })
  await again.until('model', { current: '1', canary: { version: '2', percent: 30 } })
  expect(await again.told('keys 500')).toEqual(keys)

  await b.ask('canary 2 60')
  await again.until('model', { canary: { percent: 60 } })
  expect(await again.told('keys 500')).toEqual(expect.arrayContaining(keys))
  await again.ask('endcanary')
  for (const one of [b, again]) {
    await eventually(() => one.told('model')).not.toHaveProperty('canary')
    expect(await one.told('keys 100')).toEqual([])
  }
})

test('a quarantine by one holds in three, takes all of them back, and outlives them', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir)
  const [a, b] = all
  await a.ask('switch 2')
  await Promise.all(all.map(({ serves }) => serves('2')))
  expect(await b.ask('quarantine 2')).toBe('1')
  await Promise.all(all.map((one) => one.until('model', { current: '1', quarantined: ['2'] })))
  expect(stateIn(stateDir).models.m).toMatchObject({ current: '1', history: ['1'], pinned: true })
  for (const one of all) expect(await one.ask('switch 2')).toBe('CONFLICT')

  await Promise.all(all.map(({ end }) => end()))
  const again = await startReplica({ program, stateDir })
  expect(await again.told('model')).toMatchObject({ current: '1', quarantined: ['2'] })
  expect(await again.ask('switch 2')).toBe('CONFLICT')
  await again.ask('release 2')
  expect(await again.ask('switch 2')).toBe('2')
})

test('a version in quarantine serves in no process that is started, even where it is the highest', async () => {
  const stateDir = temporaryRepository({})
  const a = await startReplica({ program, stateDir })
  expect(await a.ask('quarantine 1')).toBe('CONFLICT') // there is nothing to go back to
  await a.ask('switch 2')
  await a.ask('quarantine 1')
  await a.ask('quarantine 3')
  await a.kill()
  const again = await startReplica({ program, stateDir })
  expect(await again.told('model')).toMatchObject({ current: '2', quarantined: ['3', '1'] })
})

test('one killed while it loads what a label is to name leaves the label where it was', async () => {
  const stateDir = temporaryRepository({})
  const [killed, b] = await three(stateDir)
  await b.ask('label stable 1')
  await killed.until('model', { labels: { stable: '1' } })
  writeInto(killed.source, '3/hold', '')
  void killed.ask('label stable 3')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await killed.kill()
  expect(await b.told('label candidate 2')).toMatchObject({ stable: '1', candidate: '2' })
  expect(stateIn(stateDir).models.m.labels).toEqual({ stable: '1', candidate: '2' })
})

test('one killed in the middle of a write leaves a lock that others break, and the state whole', async () => {
  const stateDir = temporaryRepository({})
  const [killed, b, c] = await three(stateDir)
  await b.ask('label stable 1')
  await killed.kill()
  // What a process leaves that dies while it holds the lock and writes.
  writeFileSync(join(stateDir, 'state.lock'), 'the dead')
  writeFileSync(join(stateDir, 'state.json.dead.tmp'), '{"format":1,"gener')
  expect(await b.told('label stable 2')).toMatchObject({ stable: '2' })
  await c.until('model', { labels: { stable: '2' } })
})

test('those killed while they change one thing after the other leave a whole state, which others follow and change', async () => {
  const stateDir = temporaryRepository({})
  const [b, c] = await three(stateDir)
  const victims = await Promise.all([1, 2, 3, 4].map(() => startReplica({ program, stateDir })))
  for (const victim of victims) {
    for (const version of ['1', '2', '3', '1', '2', '3', '1', '2', '3']) {
      void victim.ask(`label busy ${version}`).catch(() => {}) // it never answers the last
      void victim.ask(`canary 3 ${version}`).catch(() => {})
    }
  }
  for (const [i, victim] of victims.entries()) {
    await new Promise((resolve) => setTimeout(resolve, 7 * i + 5))
    await victim.kill()
  }
  expect(await b.told('label busy 2')).toMatchObject({ busy: '2' })
  expect(await c.told('canary 3 40')).toEqual({ version: '3', percent: 40 })
  for (const one of [b, c]) {
    await one.until('model', { current: '1', labels: { busy: '2' }, canary: { percent: 40 } })
  }
  expect(stateIn(stateDir).models.m).toMatchObject({ labels: { busy: '2' }, canary: { percent: 40 } })
}, 60_000)

test('one that can not load what was decided says so, and follows once it can', async () => {
  const stateDir = temporaryRepository({})
  const a = await startReplica({ program, stateDir })
  const late = await startReplica({ program, stateDir, source: temporaryRepository({ '1/x': '' }) })
  await a.ask('label candidate 2')
  await a.ask('canary 3 50')
  const heartbeat = async () => (await late.told('heartbeat')) as object
  await eventually(heartbeat).toMatchObject({ failed: { 2: { code: 'VERSION_NOT_FOUND' }, 3: {} } })
  expect(await late.told('model')).toMatchObject({ current: '1', labels: { configured: '1' } })
  writeInto(late.source, '2/x', '')
  writeInto(late.source, '3/x', '')
  await late.until('model', { labels: { candidate: '2' }, canary: { version: '3' } })
  await eventually(heartbeat).toMatchObject({ failed: {} })
})
