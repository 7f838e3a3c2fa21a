import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { InlineSession } from '../../src/execution/inline.js'
import { openInProcess } from '../../src/execution/process.js'
import type { Artifact, Place, Session } from '../../src/execution/session.js'
import { openInThread } from '../../src/execution/thread.js'
import type { Feeds, Tensor } from '../../src/tensor/tensor.js'
import { type Encoded, float32, model, node, tensorValue } from '../onnx/writer.js'

/** A folder of its own for a test file, removed after its last test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mlserving-test-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Opens an artifact at each of the places there are. */
export const openAt: Readonly<Record<Place, (artifact: Artifact) => Promise<Session>>> = {
  thread: (artifact) => openInThread(artifact),
  process: openInProcess,
  inline: (artifact) => InlineSession.create(artifact),
}

/** Writes models into a folder of the test file's own. */
export function modelFolder(): (name: string, bytes: Uint8Array, intraOpThreads?: number) => Artifact {
  const folder = temporaryFolder()
  return (name, bytes, intraOpThreads = 1) => {
    const path = join(folder, `${name}.onnx`)
    writeFileSync(path, bytes)
    return { path, intraOpThreads }
  }
}

/** `x` float32 of the shape, with the numbers 0.0, 0.1, 0.2, ... modulo 1. */
export function feeds(...shape: number[]): Feeds & { readonly x: Tensor<'float32'> } {
  const length = shape.reduce((product, dimension) => product * dimension, 1)
  return { x: { dtype: 'float32', shape, data: Float32Array.from({ length }, (_, i) => (i % 10) / 10) } }
}

/** The numbers of an output; fails the test where there is none. */
export function numbers(outputs: Feeds, name = 'y'): (number | bigint | string)[] {
  const tensor = outputs[name]
  if (tensor === undefined) throw new Error(`no output "${name}" among ${Object.keys(outputs).join(', ')}`)
  return Array.from(tensor.data as ArrayLike<number | bigint | string>)
}

/** How often a timer of this thread fired until the promise settled: next to never while its loop is blocked. */
export async function turnsDuring(promise: Promise<unknown>): Promise<number> {
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  try {
    await promise
  } finally {
    clearInterval(timer)
  }
  return turns
}

/**
 * A small file that takes long to load: the runtime multiplies its constants while it creates the session, some
 * 5 ms for each of `products`. `y` is `x`, both float32 [batch, 3].
 */
export function slowToLoad(products = 60): Encoded {
  const width = 512
  const matrix = Float32Array.from({ length: width * width }, (_, i) => (i % 7) / width)
  return model({
    nodes: [
      ...Array.from({ length: products }, (_, i) =>
        node('MatMul', [i === 0 ? 'w' : `w${i}`, 'w'], [`w${i + 1}`]),
      ),
      node('ReduceMean', [`w${products}`], ['mean'], { attributes: { keepdims: { int: 0 } } }),
      node('Mul', ['mean', 'zero'], ['nothing']),
      node('Add', ['x', 'nothing'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', 3])],
    outputs: [tensorValue('y', 'float32', ['batch', 3])],
    initializers: [float32('w', [width, width], matrix), float32('zero', [], [0])],
  })
}
