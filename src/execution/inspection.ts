import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import path from 'node:path'
import { messageOf } from '../errors.js'
import { readOnnx } from './onnx-graph.js'
import { findRowCoupling } from './row-coupling/row-coupling.js'

/** What a model's file says beyond what a session of it does. */
export interface Inspection {
  /** Why the graph may make rows of a batch depend on each other; undefined where it keeps them apart. */
  readonly coupling: string | undefined
  /** SHA-256 of the file, and of those that hold its numbers, in hexadecimal. */
  readonly sha256: string
}

/** The largest file whose graph is read: for as long, its bytes are in memory once more. */
const mostBytes = 256 * 1024 * 1024

const chunkBytes = 1024 * 1024

/** Inspects a file, on the calling thread, which it blocks for as long as it reads. Never throws for what the file says. */
export function inspect(file: string): Inspection {
  const hash = createHash('sha256')
  const { size } = statSync(file)
  if (size > mostBytes) {
    hashFile(file, hash)
    const limit = mostBytes / 1024 / 1024
    return {
      coupling: `the graph was not looked at: the file is larger than ${limit} MiB`,
      sha256: hash.digest('hex'),
    }
  }
  const bytes = readFileSync(file)
  hash.update(bytes)
  let coupling: string | undefined
  try {
    coupling = couplingOf(bytes)
    for (const location of readOnnx(bytes).externalData) hashFile(path.resolve(file, '..', location), hash)
  } catch (error) {
    coupling = `the graph could not be looked at: ${messageOf(error)}`
  }
  return { coupling, sha256: hash.digest('hex') }
}

function couplingOf(bytes: Uint8Array): string | undefined {
  const found = findRowCoupling(bytes)
  if (found === undefined) return undefined
  const { operator, node, reason } = found
  return node === '' ? `${operator} ${reason}` : `${operator} "${node}" ${reason}`
}

function hashFile(file: string, hash: ReturnType<typeof createHash>): void {
  const descriptor = openSync(file, 'r')
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes)
    for (;;) {
      const read = readSync(descriptor, chunk)
      if (read === 0) return
      hash.update(chunk.subarray(0, read))
    }
  } finally {
    closeSync(descriptor)
  }
}
