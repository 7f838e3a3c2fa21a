import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { inspect, inspectedBytes } from '../../src/execution/inspection.js'
import { ModelFile } from '../../src/execution/model-file.js'
import { softmaxOverRows } from '../onnx/coupled.js'
import { addExternal, mlp } from '../onnx/models.js'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const inspectionOf = async (path: string, mostBytes = inspectedBytes) =>
  inspect(await ModelFile.read(path, mostBytes))

const sha256 = (...parts: readonly Uint8Array[]) =>
  createHash('sha256').update(Buffer.concat(parts)).digest('hex')

it('gives the digest of a file, and finds no coupling where there is none', async () => {
  const path = write('mlp.onnx', mlp())
  expect(await inspectionOf(path)).toEqual({
    coupling: undefined,
    sha256: sha256(readFileSync(path)),
    externalData: [],
  })
})

it('digests the numbers in other files as well', async () => {
  const numbers = Buffer.from(Float32Array.of(1, 2, 3).buffer)
  write('numbers.bin', numbers)
  const bytes = addExternal('numbers.bin')
  expect(await inspectionOf(write('external.onnx', bytes))).toEqual({
    coupling: undefined,
    sha256: sha256(bytes, numbers),
    externalData: ['numbers.bin'],
  })
})

it('gives no digest where the numbers in other files are not to be had', async () => {
  expect(await inspectionOf(write('missing.onnx', addExternal('missing.bin')))).toEqual({
    coupling: undefined,
    sha256: undefined,
    externalData: ['missing.bin'],
  })
})

it('says in a sentence what couples rows, and why nothing could be found out', async () => {
  const couplingOf = async (name: string, bytes: Uint8Array) =>
    (await inspectionOf(write(name, bytes))).coupling
  expect(await couplingOf('softmax.onnx', softmaxOverRows())).toBe('Softmax normalises over the rows')
  expect(await couplingOf('broken.onnx', Buffer.from('no model'))).toMatch(
    /^the graph could not be looked at: /,
  )
})

it('digests a file that is too large to be looked into, and says that it was not', async () => {
  const bytes = Buffer.alloc(3.5 * 1024 * 1024, 7)
  expect(await inspectionOf(write('large.onnx', bytes), 2 * 1024 * 1024)).toEqual({
    coupling: 'the graph could not be looked at: the file is larger than 2 MiB',
    sha256: sha256(bytes),
    externalData: [],
  })
})

it('lets the event loop turn while it digests', async () => {
  const bytes = Buffer.alloc(8 * 1024 * 1024, 7)
  const file = await ModelFile.read(write('long.onnx', bytes), inspectedBytes)
  let turns = 0
  const digest = file.sha256().finally(() => clearInterval(counting))
  const counting = setInterval(() => turns++, 0)
  expect(await digest).toBe(sha256(bytes))
  expect(turns).toBeGreaterThan(0)
})
