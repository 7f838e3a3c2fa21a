import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { inspect } from '../../src/execution/inspection.js'
import { softmaxOverRows } from '../onnx/coupled.js'
import { addExternal, mlp } from '../onnx/models.js'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const sha256 = (...parts: readonly Uint8Array[]) =>
  createHash('sha256').update(Buffer.concat(parts)).digest('hex')

it('gives the digest of a file, and finds no coupling where there is none', () => {
  const path = write('mlp.onnx', mlp())
  expect(inspect(path)).toEqual({ coupling: undefined, sha256: sha256(readFileSync(path)) })
})

it('digests the numbers in other files as well', () => {
  const numbers = Buffer.from(Float32Array.of(1, 2, 3).buffer)
  write('numbers.bin', numbers)
  const bytes = addExternal('numbers.bin')
  expect(inspect(write('external.onnx', bytes))).toEqual({
    coupling: undefined,
    sha256: sha256(bytes, numbers),
  })
})

it('says in a sentence what couples rows, and why nothing could be found out', () => {
  expect(inspect(write('softmax.onnx', softmaxOverRows())).coupling).toBe('Softmax normalises over the rows')
  expect(inspect(write('broken.onnx', Buffer.from('no model'))).coupling).toMatch(
    /^the graph could not be looked at/,
  )
})
