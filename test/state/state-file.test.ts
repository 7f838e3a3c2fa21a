import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.js'
import { desiredOf, withModel } from '../../src/state/desired-state.js'
import { StateFile } from '../../src/state/state-file.js'
import { StateLock } from '../../src/state/state-lock.js'
import { temporaryRepository } from '../models/temporary-repository.js'

/** A clock on which a second is fifty milliseconds. */
const fast: Clock = { ...systemClock, now: () => systemClock.now() * 20 }

const folder = () => temporaryRepository({})

const touch = (file: StateFile) =>
  file.change((state) =>
    withModel(state, 'm', { ...desiredOf(state, 'm'), current: `${state.generation + 1}` }),
  )

test('a folder without a state desires nothing', async () => {
  expect(await new StateFile(folder(), systemClock).read()).toMatchObject({ generation: 0, models: {} })
})

test('of changes made at once none is lost, and nothing is left beside the file', async () => {
  const dir = folder()
  const files = Array.from({ length: 8 }, () => new StateFile(dir, systemClock))
  await Promise.all(files.flatMap((file) => [touch(file), touch(file), touch(file)]))
  expect((await new StateFile(dir, systemClock).read()).generation).toBe(24)
  expect(readdirSync(dir)).toEqual(['state.json'])
})

test('whoever reads while others write sees a whole state', async () => {
  const dir = folder()
  const file = new StateFile(dir, systemClock)
  const writer = { isDone: false }
  const writing = (async () => {
    for (let i = 0; i < 30; i++) await touch(file)
  })().finally(() => (writer.isDone = true))
  const seen: number[] = []
  while (!writer.isDone) seen.push((await new StateFile(dir, systemClock).read()).generation)
  await writing
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
})

test('a broken file is told, left as it is, and not changed', async () => {
  const dir = folder()
  const file = new StateFile(dir, systemClock)
  writeFileSync(file.path, '{"format":1,')
  await expect(file.read()).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  await expect(touch(file)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('mend or remove'),
  })
  expect(readFileSync(file.path, 'utf8')).toBe('{"format":1,')
  expect(existsSync(join(dir, 'state.lock'))).toBe(false)
})

test('a change that is refused leaves the state and no lock', async () => {
  const dir = folder()
  const file = new StateFile(dir, systemClock)
  const refuse = () => {
    throw new Error('no')
  }
  await expect(file.change(refuse)).rejects.toThrow('no')
  expect(readdirSync(dir)).toEqual([])
})

test.each(['a token', ''])('the lock of a process that died, with %j in it, is taken over', async (token) => {
  const dir = folder()
  writeFileSync(join(dir, 'state.lock'), token)
  const files = Array.from({ length: 4 }, () => new StateFile(dir, fast))
  await Promise.all(files.map(touch))
  expect((await files[0]?.read())?.generation).toBe(4)
  expect(readdirSync(dir)).toEqual(['state.json'])
})

test('a lock that is held is waited for', async () => {
  const path = join(folder(), 'state.lock')
  const order: string[] = []
  const first = new StateLock(path, systemClock).hold(async () => {
    order.push('first')
    await sleep(60)
    order.push('first ends')
  })
  await sleep(10)
  await new StateLock(path, systemClock).hold(async () => void order.push('second'))
  await first
  expect(order).toEqual(['first', 'first ends', 'second'])
})

test('who held the lock so long that it was taken for dead is told, and leaves the lock of the next', async () => {
  const path = join(folder(), 'state.lock')
  let release = () => {}
  const released = new Promise<void>((resolve) => (release = resolve))
  const slow = new StateLock(path, systemClock).hold(async (isHeld) => {
    await released
    return isHeld()
  })
  await sleep(10)
  const heldMeanwhile = await new StateLock(path, fast).hold(async (isHeld) => {
    release()
    const slowHeld = await slow
    return { slowHeld, held: await isHeld() }
  })
  expect(heldMeanwhile).toEqual({ slowHeld: false, held: true })
})

test('a lock that can not be had is a CONFLICT, in bounded time', async () => {
  const path = join(folder(), 'state.lock')
  const holders = { isOver: false }
  // Another holder every time one looks.
  const others = (async () => {
    for (let i = 0; !holders.isOver; i++) {
      writeFileSync(path, `${i}`)
      await sleep(1)
    }
  })()
  await expect(new StateLock(path, fast).hold(async () => {})).rejects.toMatchObject({ code: 'CONFLICT' })
  holders.isOver = true
  await others
})
