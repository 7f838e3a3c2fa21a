import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Settling } from '../../src/models/settling.js'
import { ManualClock } from '../manual-clock.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

function settlingOf(completeMarker?: string, stableMs = 60_000) {
  const clock = new ManualClock()
  return { clock, settling: new Settling({ clock, stableMs, completeMarker }) }
}

it('a folder has settled once it has been the same for the whole time', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  const { clock, settling } = settlingOf()
  expect(await settling.look(root)).toMatchObject({ isSettled: false })
  clock.advance(60_000)
  expect(await settling.look(root)).toMatchObject({ isSettled: true })
})

it('each change begins the time anew', async () => {
  const root = temporaryRepository({ 'model.onnx': '' })
  const { clock, settling } = settlingOf()
  for (const piece of ['a', 'ab', 'abc']) {
    await settling.look(root)
    clock.advance(59_000)
    writeInto(root, 'model.onnx', piece)
    expect(await settling.look(root)).toMatchObject({ isSettled: false })
  }
  clock.advance(60_000)
  expect(await settling.look(root)).toMatchObject({ isSettled: true })
})

it('a folder that goes and comes back begins anew', async () => {
  const root = temporaryRepository({ '1/model.onnx': 'abc' })
  const { clock, settling } = settlingOf()
  await settling.look(join(root, '1'))
  clock.advance(60_000)
  rmSync(join(root, '1'), { recursive: true })
  expect(await settling.look(join(root, '1'))).toBeUndefined()
  writeInto(root, '1/model.onnx', 'abc')
  expect(await settling.look(join(root, '1'))).toMatchObject({ isSettled: false })
})

it('with a marker time says nothing, and the marker all', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  const { clock, settling } = settlingOf('DONE')
  await settling.look(root, true)
  clock.advance(600_000)
  expect(await settling.look(root, true)).toMatchObject({ isSettled: false })
  writeInto(root, 'DONE', '')
  expect(await settling.look(root, true)).toMatchObject({ isSettled: true })
})

it('what has lain there for long enough has settled at first sight', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  expect(await settlingOf(undefined, 0).settling.look(root, false, true)).toMatchObject({ isSettled: true })
})

it('only at the start is the word of the file system taken for how long: its clock may be behind ours', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  const { clock, settling } = settlingOf(undefined, 50)
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(await settling.look(root)).toMatchObject({ isSettled: false })
  clock.advance(50)
  expect(await settling.look(root)).toMatchObject({ isSettled: true })
  const other = settlingOf(undefined, 50)
  expect(await other.settling.look(root, false, true)).toMatchObject({ isSettled: true })
})
