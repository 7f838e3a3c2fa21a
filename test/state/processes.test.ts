import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { bundleReplica, startReplica as start, stateIn } from './replica-process.js'

let program: string
const folder = temporaryFolder()
beforeAll(async () => {
  program = await bundleReplica(folder)
})

/** A process that serves, by its own copy of the versions. */
const startReplica = (stateDir: string) => start({ program, stateDir })

test('processes on one folder serve the same version, whoever switches or rolls back, also after a restart', async () => {
  const stateDir = temporaryRepository({})
  const all = await Promise.all([1, 2, 3].map(() => startReplica(stateDir)))
  const [a, b, c] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]]
  expect(await a.ask('switch 2')).toBe('2')
  await Promise.all(all.map(({ serves }) => serves('2')))
  expect(await b.ask('switch 3')).toBe('3')
  await Promise.all(all.map(({ serves }) => serves('3')))
  expect(await c.ask('rollback')).toBe('2')
  await Promise.all(all.map(({ serves }) => serves('2')))
  expect(await Promise.all(all.map(({ ask }) => ask('predict')))).toEqual(['2', '2', '2'])

  await a.end()
  const again = await startReplica(stateDir)
  expect(await again.ask('current')).toBe('2')
  expect(readdirSync(join(stateDir, 'replicas')).filter((name) => name.endsWith('.json'))).toHaveLength(3)
})

test('one killed while the others load what it switches to leaves them as they were, and free to change', async () => {
  const stateDir = temporaryRepository({})
  const [killed, b, c] = await Promise.all([1, 2, 3].map(() => startReplica(stateDir)))
  if (killed === undefined || b === undefined || c === undefined) throw new Error('three were started')
  writeInto(b.source, '2/hold', '')
  void killed.ask('switch 2')
  while (!existsSync(join(stateDir, 'state.json')) || stateIn(stateDir).models.m.pending === undefined)
    await sleep(5)
  await killed.kill()

  expect(await c.ask('switch 3')).toMatch(/^(3|CONFLICT)$/) // it may live still, as far as they know
  rmSync(join(b.source, '2/hold'))
  while ((await c.ask('switch 3')) !== '3') await sleep(50)
  await b.serves('3')
  expect(stateIn(stateDir).models.m).toMatchObject({ current: '3', history: ['1', '3'] })
  expect(stateIn(stateDir).models.m).not.toHaveProperty('pending')
})

test('one killed while it is waited for holds up a switch for a bounded time', async () => {
  const stateDir = temporaryRepository({})
  const [a, killed] = await Promise.all([1, 2].map(() => startReplica(stateDir)))
  if (a === undefined || killed === undefined) throw new Error('two were started')
  writeInto(killed.source, '2/hold', '')
  const switching = a.ask('switch 2')
  while (!existsSync(join(stateDir, 'state.json'))) await sleep(5)
  await killed.kill()
  expect(await switching).toBe('2')
})

test('processes that all switch at once end on one version, and lose no change', async () => {
  const stateDir = temporaryRepository({})
  const all = await Promise.all([1, 2, 3].map(() => startReplica(stateDir)))
  const done: string[] = []
  await Promise.all(
    all.map(async ({ ask }, i) => {
      for (const version of ['2', '3', '1', '2', '3']) {
        await sleep(10 * i)
        const answer = await ask(`switch ${version}`)
        if (answer !== 'CONFLICT') done.push(answer)
      }
    }),
  )
  expect(done.length).toBeGreaterThan(0)
  const { current } = stateIn(stateDir).models.m
  await Promise.all(all.map(({ serves }) => serves(current)))
  expect(readdirSync(stateDir).sort()).toEqual(['replicas', 'state.json'])
})
