import { readFileSync } from 'node:fs'
import type * as Ort from 'onnxruntime-node'
import { beforeAll, describe, expect, it } from 'vitest'
import { readOnnx, rewriteZipMaps } from '../../src/execution/onnx-graph.js'
import { identityModel, mlp, random, sequenceOutput, zipMapModel } from '../onnx/models.js'
import {
  type Encoded,
  graph,
  mapType,
  model,
  node,
  sequenceType,
  tensorType,
  tensorValue,
  value,
} from '../onnx/writer.js'

process.env.ORT_DISABLE_TELEMETRY = '1'
let ort: typeof Ort
beforeAll(async () => {
  ort = await import('onnxruntime-node')
})

async function run(bytes: Uint8Array, x: Float32Array, columns: number) {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 })
  const results = await session.run({ x: new ort.Tensor('float32', x, [x.length / columns, columns]) })
  const { outputMetadata } = session
  await session.release()
  return { results, outputMetadata }
}

/** Class i leads where x[i] does. */
const leads = Float32Array.of(5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0)

describe('rewriteZipMaps', () => {
  it.each<[string, Encoded, readonly string[]]>([
    [
      'strings',
      zipMapModel({ classes: ['setosa', 'versicolor', 'virginica'] }),
      ['setosa', 'versicolor', 'virginica'],
    ],
    ['numbers, in their own order', zipMapModel({ classes: [7, -1, 3] }), ['7', '-1', '3']],
    [
      'no import of standard operators',
      zipMapModel({ standardOpset: false }),
      ['setosa', 'versicolor', 'virginica'],
    ],
    ['names from objects', zipMapModel({ classes: ['__proto__', 'é', ''] }), ['__proto__', 'é', '']],
  ])('gives [rows, classes] for a classifier with %s', async (_, bytes, classes) => {
    const rewritten = rewriteZipMaps(bytes)
    expect({ ...rewritten.classes }).toEqual({ probabilities: classes })

    const { results, outputMetadata } = await run(rewritten.bytes, leads, 4)
    expect(outputMetadata[1]).toMatchObject({ name: 'probabilities', isTensor: true, type: 'float32' })
    expect(outputMetadata[1]).toMatchObject({ shape: [expect.any(String), 3] })
    expect(results.probabilities?.dims).toEqual([3, 3])
    const scores = results.probabilities?.data as Float32Array
    const labels = [...(results.label?.data as ArrayLike<unknown> & Iterable<unknown>)].map(String)
    for (const row of [0, 1, 2]) {
      const probabilities = [...scores.subarray(row * 3, row * 3 + 3)]
      expect(probabilities.reduce((sum, value) => sum + value)).toBeCloseTo(1, 5)
      expect(probabilities.indexOf(Math.max(...probabilities))).toBe(row)
      expect(labels[row]).toBe(classes[row])
    }
  })

  it('gives the scores that the maps would have held', async () => {
    const { bytes } = rewriteZipMaps(zipMapModel({ classes: ['a', 'b'] }))
    const x = Float32Array.from({ length: 40 }, random(3))
    const { results } = await run(bytes, x, 4)
    for (let row = 0; row < 10; row++) {
      const [a = 0, b = 0] = x.subarray(row * 4)
      const expected = 1 / (1 + Math.exp(b - 1 / 8 - a))
      expect((results.probabilities?.data as Float32Array)[row * 2]).toBeCloseTo(expected, 5)
    }
  })

  it('rewrites several, packed class numbers and declared inner values', async () => {
    const maps = sequenceType(mapType('int64', tensorType('float32', [])))
    const zip = (output: string, classes: readonly bigint[]) =>
      node('ZipMap', ['x'], [output], {
        domain: 'ai.onnx.ml',
        attributes: { classlabels_int64s: { packedInts: classes } },
      })
    const bytes = model(
      {
        nodes: [zip('one', [300n, -(2n ** 63n)]), node('Relu', ['x'], ['positive']), zip('two', [0n, 1n])],
        inputs: [tensorValue('x', 'float32', ['rows', 2])],
        outputs: [value('two', maps), tensorValue('positive', 'float32', ['rows', 2]), value('one')],
        values: [value('two', maps), tensorValue('unrelated', 'float32', [])],
      },
      { opsets: { 'ai.onnx': 17, 'ai.onnx.ml': 3 }, metadata: { kept: 'yes' } },
    )
    const rewritten = rewriteZipMaps(bytes)
    expect({ ...rewritten.classes }).toEqual({ one: ['300', '-9223372036854775808'], two: ['0', '1'] })
    const read = readOnnx(rewritten.bytes)
    expect(read.zipMaps).toEqual([])
    expect(read.opsets).toHaveLength(2)
    expect({ ...read.metadata }).toEqual({ kept: 'yes' })

    const { results } = await run(rewritten.bytes, Float32Array.of(-1, 2), 2)
    expect(results.one?.data).toEqual(Float32Array.of(-1, 2))
    expect(results.two?.data).toEqual(Float32Array.of(-1, 2))
    expect(results.positive?.data).toEqual(Float32Array.of(0, 2))
  })

  it('re-encodes the lengths of a large model', async () => {
    const classes = Array.from({ length: 4 }, (_, i) => String(i).repeat(100_000))
    const { bytes } = rewriteZipMaps(zipMapModel({ classes }))
    const { results } = await run(bytes, leads, 4)
    expect(results.probabilities?.dims).toEqual([3, 4])
  })

  it('reads a part of a larger buffer, and leaves what it was given as it is', () => {
    const bytes = zipMapModel()
    const around = new Uint8Array(bytes.length + 20).fill(0xff)
    around.set(bytes, 10)
    expect(rewriteZipMaps(around.subarray(10, 10 + bytes.length))).toEqual(rewriteZipMaps(bytes))
    expect(bytes).toEqual(zipMapModel())
  })

  const inner = graph({
    nodes: [node('ZipMap', ['scores'], ['probabilities'], { domain: 'ai.onnx.ml' })],
    inputs: [],
    outputs: [value('probabilities')],
  })
  it.each<[string, Encoded]>([
    ['no ZipMap', mlp()],
    ['strings', identityModel({ dtype: 'string' })],
    ['another sequence', sequenceOutput()],
    ['a ZipMap that feeds an operator', zipMapModel({ alsoTakenBy: 'node' })],
    ['a ZipMap that feeds a subgraph', zipMapModel({ alsoTakenBy: 'subgraph' })],
    ['a ZipMap without classes', zipMapModel({ classes: [] })],
    ['a ZipMap of another domain', withNode(node('ZipMap', ['x'], ['y'], { domain: 'mine' }))],
    ['a ZipMap that is no output', withNode(node('ZipMap', ['x'], ['z'], { domain: 'ai.onnx.ml' }))],
    [
      'a ZipMap in a subgraph',
      withNode(node('If', ['c'], ['y'], { attributes: { then_branch: { graph: inner } } })),
    ],
    ['its own result', rewriteZipMaps(zipMapModel()).bytes],
  ])('gives back the very bytes of a model with %s', (_, bytes) => {
    const rewritten = rewriteZipMaps(bytes)
    expect(rewritten.bytes).toBe(bytes)
    expect(Object.keys(rewritten.classes)).toEqual([])
  })

  const tumor = new URL('../../examples/models/tumor/1/model.onnx', import.meta.url)
  it("rewrites scikit-learn's own file", async () => {
    const bytes = readFileSync(tumor)
    const rewritten = rewriteZipMaps(bytes)
    expect({ ...rewritten.classes }).toEqual({ output_probability: ['benign', 'malignant'] })

    const session = await ort.InferenceSession.create(rewritten.bytes)
    const golden = readFileSync(new URL('golden.jsonl', tumor), 'utf8').trim().split('\n')
    for (const line of golden) {
      const { input, expected } = JSON.parse(line) as Golden
      const features = new ort.Tensor('float32', Float32Array.from(input.features), [
        1,
        input.features.length,
      ])
      const { output_probability: output } = await session.run({ features })
      expect(output?.dims).toEqual([1, 2])
      const [benign = 0, malignant = 0] = output?.data as Float32Array
      expect(benign + malignant).toBeCloseTo(1, 5)
      expect(benign > malignant ? 'benign' : 'malignant').toBe(expected.prediction)
      expect(Math.max(benign, malignant)).toBeCloseTo(expected.confidence, 3)
    }
    await session.release()
  })
})

interface Golden {
  readonly input: { readonly features: readonly number[] }
  readonly expected: { readonly prediction: string; readonly confidence: number }
}

function withNode(only: Encoded): Encoded {
  return model({ nodes: [only], inputs: [tensorValue('x', 'float32', [1, 2])], outputs: [value('y')] })
}
