import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkedBytes, modelBytes } from '../../src/execution/external-data.js'
import { ModelFile } from '../../src/execution/model-file.js'
import { float32 } from '../../src/tensor/tensor.js'
import { addExternal, identityModel } from '../onnx/models.js'
import {
  externalTensor,
  mapType,
  model,
  node,
  sequenceType,
  tensorType,
  tensorValue,
  value,
} from '../onnx/writer.js'
import { feeds, modelFolder, numbers, temporaryFolder, openAt } from './support.js'

const folder = temporaryFolder()
mkdirSync(join(folder, 'model/inner'), { recursive: true })
const numbersFile = new Uint8Array(Float32Array.of(1, 2, 3).buffer)
for (const file of ['outside.bin', 'model/w.bin', 'model/inner/w.bin']) {
  writeFileSync(join(folder, file), numbersFile)
}

function write(location: string): string {
  const path = join(folder, 'model/model.onnx')
  writeFileSync(path, addExternal(location))
  return path
}

describe.each(['thread', 'process', 'inline'] as const)(
  'a model whose numbers are in another file, %s,',
  (placement) => {
    it.each(['w.bin', './w.bin', 'inner/w.bin', 'inner/../w.bin'])(
      'finds them in its folder: %s',
      async (location) => {
        const session = await openAt[placement]({ path: write(location), intraOpThreads: 1 })
        const { outputs } = await session.run(feeds(1, 3))
        expect(numbers(outputs).map((value) => Math.floor(Number(value)))).toEqual([1, 2, 3])
        await session.close()
      },
    )

    it.each([
      '../outside.bin',
      'inner/../../outside.bin',
      '..\\outside.bin',
      join(folder, 'outside.bin'),
      join(folder, 'model/w.bin'),
      '/etc/passwd',
      'C:\\outside.bin',
    ])('is refused where they are not in its folder: %s', async (location) => {
      const path = write(location)
      await expect(openAt[placement]({ path, intraOpThreads: 1 })).rejects.toMatchObject({
        code: 'INVALID_MODEL',
        message: expect.stringContaining(
          `${path}: its numbers are in "${location}", which is not in the model's folder`,
        ),
      })
    })

    it('is refused where they are missing', async () => {
      await expect(
        openAt[placement]({ path: write('missing.bin'), intraOpThreads: 1 }),
      ).rejects.toMatchObject({
        code: 'INVALID_MODEL',
        message: expect.stringContaining('missing.bin'),
      })
    })

    it('finds them beside the file when it is rewritten at load', async () => {
      const path = join(folder, 'model/zip-map.onnx')
      writeFileSync(join(folder, 'model/scores.bin'), new Uint8Array(new Float32Array(12).fill(0.5).buffer))
      writeFileSync(path, externalZipMap('scores.bin'))
      const session = await openAt[placement]({ path, intraOpThreads: 1 })
      const { outputs } = await session.run({ x: float32([2, 2, 2, 2], [1, 4]) })
      expect(numbers(outputs, 'probabilities')).toEqual([4, 4, 4])
      await session.close()
    })
  },
)

/** `x` float32 [batch, 4] times a [4, 3] matrix in the file at `location`, as maps from class to number. */
function externalZipMap(location: string): Uint8Array {
  const ml = 'ai.onnx.ml'
  const attributes = { classlabels_int64s: { ints: [0, 1, 2] } }
  const maps = sequenceType(mapType('int64', tensorType('float32', [])))
  return model(
    {
      nodes: [
        node('MatMul', ['x', 'w'], ['scores']),
        node('ZipMap', ['scores'], ['probabilities'], { domain: ml, attributes }),
      ],
      inputs: [tensorValue('x', 'float32', ['batch', 4])],
      outputs: [value('probabilities', maps)],
      initializers: [externalTensor('w', 'float32', [4, 3], location)],
    },
    { opsets: { '': 17, [ml]: 1 } },
  )
}

describe('the bytes of a model', () => {
  const bytesOf = async (path: string, limit: number) =>
    modelBytes(await ModelFile.read(path, checkedBytes), limit)

  it('are those of all its files', async () => {
    const path = write('inner/w.bin')
    expect(await bytesOf(path, 1e6)).toBe(addExternal('inner/w.bin').length + 12)
    const plain = modelFolder()('identity', identityModel())
    expect(await bytesOf(plain.path, 1e6)).toBe(identityModel().length)
  })

  it('are not counted beyond the limit, nor where one of the files is missing', async () => {
    const path = write('w.bin')
    const own = addExternal('w.bin').length
    expect(await bytesOf(path, own - 1)).toBe(Infinity)
    expect(await bytesOf(path, own)).toBe(Infinity)
    expect(await bytesOf(write('missing.bin'), 1e6)).toBe(Infinity)
  })
})
