import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import type { DesiredRollout } from '../../src/state/desired-rollout.js'
import { temporaryFolder } from '../execution/support.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { bundleReplica, eventually, startReplica, stateIn, type ReplicaProcess } from './replica-process.js'

let program: string
const folder = temporaryFolder()
beforeAll(async () => {
  program = await bundleReplica(folder)
})

async function three(
  stateDir: string,
  failing: readonly string[] = [],
): Promise<[ReplicaProcess, ReplicaProcess, ReplicaProcess]> {
  return Promise.all([
    startReplica({ program, stateDir, failing }),
    startReplica({ program, stateDir, failing }),
    startReplica({ program, stateDir, failing }),
  ])
}

const rolloutIn = (stateDir: string) => stateIn(stateDir).models.m.rollout as DesiredRollout

test('a rollout led by one gives its share to all, and is promoted in all', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir)
  const [leader, b, c] = all
  expect(await leader.ask('rollout 2')).toBe('running')
  await Promise.all(
    all.map((one) => one.until('model', { current: '1', canary: { version: '2', percent: 50 } })),
  )
  expect(await b.told('status')).toMatchObject({ phase: 'running', step: 1, version: '2' })
  expect(await c.ask('rollout 3')).toBe('CONFLICT')

  while (((await leader.told('status')) as { phase: string }).phase === 'running') await leader.ask('ask 50')
  await Promise.all(all.map((one) => one.until('status', { phase: 'promoted' })))
  await Promise.all(all.map((one) => one.until('model', { current: '2' })))
  for (const one of all) await eventually(() => one.told('model')).not.toHaveProperty('canary')
  expect(await b.ask('rollout 3')).toBe('running') // now another may lead
})

test('a version that the leader finds worse is taken back and in quarantine everywhere', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir, ['2'])
  const [leader] = all
  await leader.ask('rollout 2')
  await Promise.all(all.map((one) => one.until('model', { canary: { version: '2' } })))
  while (((await leader.told('status')) as { phase: string }).phase === 'running') await leader.ask('ask 20')
  await Promise.all(all.map((one) => one.until('model', { current: '1', quarantined: ['2'] })))
  for (const one of all) {
    await one.until('status', { phase: 'rolled-back' })
    await eventually(() => one.told('model')).not.toHaveProperty('canary')
    expect(await one.ask('ask 50')).toBe('0')
  }
})

test('a leader killed in the middle of a rollout is followed by another, which goes on from what was seen', async () => {
  const stateDir = temporaryRepository({})
  const [killed, b, c] = await three(stateDir)
  await killed.ask('rollout 2 slow') // and it has its share by then
  await Promise.all([b, c].map((one) => one.until('model', { canary: { version: '2' } })))
  await killed.ask('ask 400')
  await eventually(() => rolloutIn(stateDir).rollout.candidate.requests).toBeGreaterThan(100)
  const { leader, id, rollout } = rolloutIn(stateDir)
  expect(leader).toBe(await killed.ask('id'))
  await killed.kill()

  await eventually(() => rolloutIn(stateDir).leader).not.toBe(leader)
  expect(rolloutIn(stateDir).id).toBe(id)
  const [one, other] = rolloutIn(stateDir).leader === (await b.ask('id')) ? [b, c] : [c, b]
  const seen = async () => {
    await one.ask('ask 50')
    return rolloutIn(stateDir).rollout.candidate.requests
  }
  await eventually(seen).toBeGreaterThan(rollout.candidate.requests + 100)
  await other.until('status', { phase: 'running', step: 1 })
  for (const live of [one, other]) {
    expect(await live.told('model')).toMatchObject({ current: '1', canary: { version: '2', percent: 50 } })
  }
})

test('a leader that stood still for long leads no more once it goes on, and follows', async () => {
  const stateDir = temporaryRepository({})
  const [stopped, b, c] = await three(stateDir)
  await stopped.ask('rollout 2 slow')
  await Promise.all([b, c].map((one) => one.until('model', { canary: { version: '2' } })))
  const { leader } = rolloutIn(stateDir)
  stopped.stop()
  await eventually(() => rolloutIn(stateDir).leader).not.toBe(leader)
  const second = rolloutIn(stateDir).leader
  stopped.continue()
  await stopped.ask('ask 100')
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(rolloutIn(stateDir)).toMatchObject({ leader: second, rollout: { phase: 'running' } })
  expect(await stopped.told('model')).toMatchObject({ current: '1', canary: { version: '2', percent: 50 } })
  expect(await stopped.ask('abort')).toBe('aborted')
  await Promise.all([b, c].map((one) => one.until('status', { phase: 'aborted' })))
})

test('a rollout outlives all processes, and one that is started again goes on with it', async () => {
  const stateDir = temporaryRepository({})
  const a = await startReplica({ program, stateDir, failing: ['2'] })
  await a.ask('rollout 2 slow')
  await a.ask('ask 6') // too few to decide anything
  await a.end()
  const { requests } = rolloutIn(stateDir).rollout.candidate
  expect(rolloutIn(stateDir).rollout.stable.requests + requests).toBe(6)

  const again = await startReplica({ program, stateDir, failing: ['2'] })
  const own = await again.ask('id')
  await eventually(() => rolloutIn(stateDir).leader).toBe(own)
  expect(await again.told('model')).toMatchObject({ current: '1', canary: { version: '2' } })
  while (((await again.told('status')) as { phase: string }).phase === 'running') await again.ask('ask 20')
  await again.until('status', { phase: 'rolled-back' })
  await again.until('model', { current: '1', quarantined: ['2'] })
})

test('a rollout is ended by any process', async () => {
  const stateDir = temporaryRepository({})
  const all = await three(stateDir)
  const [leader, b, c] = all
  await leader.ask('rollout 2 slow')
  await b.until('status', { phase: 'running' })
  expect(await b.ask('abort')).toBe('aborted')
  await Promise.all(all.map((one) => one.until('status', { phase: 'aborted' })))
  for (const one of all) await eventually(() => one.told('model')).not.toHaveProperty('canary')
  expect(await c.ask('abort')).toBe('CONFLICT')
  expect((await leader.told('model')) as object).toMatchObject({ current: '1', quarantined: [] })
})

test('a rollout ends where somebody puts its version in quarantine, or switches to a third', async () => {
  const stateDir = temporaryRepository({})
  const [leader, b] = await three(stateDir)
  await leader.ask('rollout 2 slow')
  await b.ask('quarantine 2')
  await leader.until('status', { phase: 'rolled-back' })
  await leader.ask('release 2')
  expect(await leader.ask('rollout 2 slow')).toBe('running')
  await b.until('status', { phase: 'running' })
  await b.ask('switch 3')
  await leader.until('status', { phase: 'aborted' })
  await b.until('status', { phase: 'aborted' })
})

test('of two that start a rollout at once one leads it', async () => {
  const stateDir = temporaryRepository({})
  const [a, b] = await three(stateDir)
  const answers = await Promise.all([a.ask('rollout 2 slow'), b.ask('rollout 3 slow')])
  expect(answers.sort()).toEqual(['CONFLICT', 'running'])
  expect(existsSync(join(stateDir, 'state.lock'))).toBe(false)
})
