import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { fingerprintOf } from '../../src/models/fingerprint.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

const digestOf = async (path: string, marker?: string) => (await fingerprintOf(path, marker))?.digest

it('a fingerprint stays as long as nothing changes', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc', 'data/weights.bin': 'def' })
  expect(await digestOf(root)).toBe(await digestOf(root))
})

it.each<[string, (root: string) => unknown]>([
  ['a file that grows', (root) => writeInto(root, 'model.onnx', 'abcd')],
  ['a file of external data in a folder below', (root) => writeInto(root, 'data/weights.bin', 'defg')],
  ['a file that comes', (root) => writeInto(root, 'vocab.txt', '')],
  ['a file that goes', (root) => rmSync(join(root, 'data/weights.bin'))],
  ['a file that is renamed', (root) => renameSync(join(root, 'model.onnx'), join(root, 'other.onnx'))],
  ['a time of change', (root) => utimesSync(join(root, 'model.onnx'), 1, 1)],
  ['a folder that comes', (root) => mkdirSync(join(root, 'more'))],
])('a fingerprint tells %s', async (_, change) => {
  const root = temporaryRepository({ 'model.onnx': 'abc', 'data/weights.bin': 'def' })
  const before = await digestOf(root)
  change(root)
  expect(await digestOf(root)).not.toBe(before)
})

it('a fingerprint tells a link that leads elsewhere, even to files that look the same', async () => {
  const root = temporaryRepository({ 'a/model.onnx': 'abc', 'b/model.onnx': 'abc' })
  for (const name of ['a', 'b']) utimesSync(join(root, name, 'model.onnx'), 1, 1)
  const link = join(root, '1')
  symlinkSync(join(root, 'a'), link)
  const before = await digestOf(link)
  rmSync(link)
  symlinkSync(join(root, 'b'), link)
  expect(await digestOf(link)).not.toBe(before)
})

it('the marker is told, and is no part of the fingerprint', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  const before = await fingerprintOf(root, '.complete')
  expect(before?.isMarked).toBe(false)
  writeFileSync(join(root, '.complete'), '')
  expect(await fingerprintOf(root, '.complete')).toMatchObject({ digest: before?.digest, isMarked: true })
})

it('links that lead in a circle end', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  symlinkSync(root, join(root, 'self'))
  expect(await digestOf(root)).toBeDefined()
})

it('what is not there has no fingerprint', async () => {
  expect(await fingerprintOf(join(temporaryRepository({}), 'nowhere'))).toBeUndefined()
})

it('a link that leads nowhere is a part of the fingerprint, and no reason to have none', async () => {
  const root = temporaryRepository({ 'model.onnx': 'abc' })
  const before = await digestOf(root)
  symlinkSync('ann@host.1234', join(root, '.#model.onnx'))
  const after = await digestOf(root)
  expect(after).toBeDefined()
  expect(after).not.toBe(before)
  expect(await digestOf(root)).toBe(after)
})
