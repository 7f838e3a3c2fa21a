import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Heartbeats } from '../../src/state/heartbeats.js'
import { temporaryRepository } from '../models/temporary-repository.js'

const models = { m: { current: '1', loaded: ['1'], failed: {} } }

async function two() {
  const folder = temporaryRepository({})
  const [a, b] = [new Heartbeats(folder, 'a', 5_000), new Heartbeats(folder, 'b', 5_000)]
  await a.open()
  await a.beat(3, models)
  await b.beat(4, models)
  return { a, b, folder, fileOf: (id: string) => join(folder, 'replicas', `${id}.json`) }
}

function age(file: string, seconds: number): void {
  const at = Date.now() / 1000 - seconds
  utimesSync(file, at, at)
}

const idsOf = async (heartbeats: Heartbeats) => (await heartbeats.live()).map(({ id }) => id).sort()

test('each tells of itself, and sees all', async () => {
  const { a } = await two()
  const live = await a.live()
  expect(live.find(({ id }) => id === 'b')).toMatchObject({ pid: process.pid, generation: 4, models })
  expect(await idsOf(a)).toEqual(['a', 'b'])
})

test('one that has told nothing for long is dead, and alive when it tells again', async () => {
  const { a, b, fileOf } = await two()
  age(fileOf('b'), 6)
  expect(await idsOf(a)).toEqual(['a'])
  await b.beat(4, models)
  expect(await idsOf(a)).toEqual(['a', 'b'])
})

test('the file of one that is long dead is removed', async () => {
  const { a, fileOf, folder } = await two()
  age(fileOf('b'), 3600)
  await a.live()
  expect(readdirSync(join(folder, 'replicas'))).toEqual(['a.json'])
})

test('one that has ended is waited for no more, and tells nothing', async () => {
  const { a, b } = await two()
  await b.end()
  await b.beat(5, models)
  expect(await idsOf(a)).toEqual(['a'])
})

test.each(['', 'null', '{"id":"x"}', '{"id":"x","models":{"m":{}}}'])('%j is no heartbeat', async (text) => {
  const { a, fileOf } = await two()
  writeFileSync(fileOf('x'), text)
  expect(await idsOf(a)).toEqual(['a', 'b'])
})

test('one that was written in the future, by a clock that was put back since, is dead, and makes no other so', async () => {
  const { a, fileOf } = await two()
  writeFileSync(fileOf('x'), JSON.stringify({ id: 'x', models }))
  age(fileOf('x'), -3600)
  expect(await idsOf(a)).toEqual(['a', 'b'])
})
