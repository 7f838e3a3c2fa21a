import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ModelFile } from '../../src/execution/model-file.js'
import { inspect, inspectedBytes } from '../../src/execution/inspection.js'
import { SeenArtifact } from '../../src/execution/seen-artifact.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { mlp } from '../onnx/models.js'

/** Opens sessions of a file, of which only what was seen of it is there. */
function opened(bytes = mlp([4, 2], 1)) {
  const root = temporaryRepository({ 'model.onnx': bytes })
  const path = join(root, 'model.onnx')
  const seen = new SeenArtifact()
  const open = () =>
    seen.session(path, async () => ({
      inspection: await inspect(await ModelFile.read(path, inspectedBytes)),
      close: async () => {},
    }))
  return { root, path, open }
}

test('further sessions are opened of a file that stays, or is written again as it was', async () => {
  const { root, path, open } = opened()
  await open()
  await open()
  writeInto(root, 'model.onnx', mlp([4, 2], 1))
  utimesSync(path, 1, 1)
  await open()
})

test('no further session is opened of other bytes under the same name, nor of half of them', async () => {
  const { root, open } = opened()
  await open()
  for (const bytes of [mlp([4, 2], 2), mlp([4, 2], 2).subarray(0, 40), 'no model']) {
    writeInto(root, 'model.onnx', bytes)
    await expect(open()).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining('has changed since it was loaded'),
    })
  }
  writeInto(root, 'model.onnx', mlp([4, 2], 1))
  await open()
})

test('a first session that fails says nothing of the file', async () => {
  const { root, path, open } = opened()
  const seen = new SeenArtifact()
  await expect(seen.session(path, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  writeInto(root, 'model.onnx', mlp([4, 2], 2))
  await seen.session(path, async () => ({ inspection: undefined, close: async () => {} }))
  await open()
})
