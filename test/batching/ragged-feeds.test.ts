import { describe, expect, it, onTestFinished } from 'vitest'
import { raggedFeeds } from '../../src/batching/ragged-feeds.js'
import { createServing, onnx } from '../../src/index.js'
import { float32, int64, strings, type Feeds } from '../../src/tensor/tensor.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { model, node, tensorValue, int64 as integers } from '../onnx/writer.js'

const row = (...ids: number[]): Feeds => ({
  ids: int64(ids, [1, ids.length]),
  mask: float32(
    ids.map(() => 1),
    [1, ids.length],
  ),
})

describe('inputs of different lengths', () => {
  const batchable = raggedFeeds({
    inputs: { ids: { padValue: -1 }, mask: {} },
    outputs: { y: {}, z: { axis: 2 } },
  })

  it('share a batch within a bucket of lengths', () => {
    const signatures = [1, 2, 3, 4, 5, 8, 9].map((length) =>
      batchable.signature(row(...Array<number>(length).fill(0))),
    )
    expect(signatures.map((signature) => signatures.indexOf(signature))).toEqual([0, 1, 2, 2, 4, 4, 6])
  })

  it('share one within the buckets that are given, and above them with their equals', () => {
    const ragged = raggedFeeds({ inputs: { ids: {} }, lengthBuckets: [10, 3] })
    const of = (length: number) =>
      ragged.signature({ ids: int64(Array<number>(length).fill(0), [1, length]) })
    expect(of(1)).toBe(of(3))
    expect(of(4)).toBe(of(10))
    expect(of(3)).not.toBe(of(4))
    expect(of(11)).not.toBe(of(12))
  })

  it('are filled up to the longest of their batch', () => {
    const { ids, mask } = batchable.concat([row(1, 2, 3), row(4), row(5, 6)])
    expect(ids).toEqual({
      dtype: 'int64',
      shape: [3, 3],
      data: BigInt64Array.of(1n, 2n, 3n, 4n, -1n, -1n, 5n, 6n, -1n),
    })
    expect(mask).toEqual({
      dtype: 'float32',
      shape: [3, 3],
      data: Float32Array.of(1, 1, 1, 1, 0, 0, 1, 1, 0),
    })
  })

  it('are filled along any axis, and with texts', () => {
    const ragged = raggedFeeds({ inputs: { x: { axis: 1 }, t: { padValue: '[PAD]' } } })
    const { x, t } = ragged.concat([
      { x: float32([1, 2, 3, 4], [1, 2, 2]), t: strings(['a', 'b'], [1, 2]) },
      { x: float32([5, 6], [1, 1, 2]), t: strings(['c'], [1, 1]) },
    ])
    expect(x).toMatchObject({ shape: [2, 2, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6, 0, 0) })
    expect(t).toMatchObject({ shape: [2, 2], data: ['a', 'b', 'c', '[PAD]'] })
  })

  it('have their outputs cut back to their own length', () => {
    const result: Feeds = {
      y: float32([1, 2, 3, 4, 5, 6], [2, 3]),
      z: float32([1, 2, 3, 4, 5, 6], [2, 1, 3]),
      whole: float32([1, 2, 3, 4], [2, 2]),
    }
    const own = batchable.sliceResult(result, 1, 2, row(7, 8))
    expect(own.y).toMatchObject({ shape: [1, 2], data: Float32Array.of(4, 5) })
    expect(own.z).toMatchObject({ shape: [1, 1, 2], data: Float32Array.of(4, 5) })
    expect(own.whole).toMatchObject({ shape: [1, 2], data: Float32Array.of(3, 4) })
  })

  it('cost the elements of a row', () => {
    expect(batchable.rowElements(row(1, 2, 3))).toBe(6)
  })
})

/** `y` = 2x, and `sum`, that of each row: x float32 [batch, length], y [batch, length], sum [batch, 1]. */
const doubling = model({
  nodes: [
    node('Add', ['x', 'x'], ['y']),
    node('ReduceSum', ['x', 'axes'], ['sum'], { attributes: { keepdims: { int: 1 } } }),
  ],
  inputs: [tensorValue('x', 'float32', ['batch', 'length'])],
  outputs: [tensorValue('y', 'float32', ['batch', 'length']), tensorValue('sum', 'float32', ['batch', 1])],
  initializers: [integers('axes', [1], [1])],
})

function serve(ragged: object, bytes = doubling) {
  const root = temporaryRepository({ 'm/1/model.onnx': bytes })
  const batching = { safe: true, maxBatchSize: 8, ragged } as never
  const serving = createServing({
    models: { m: onnx({ source: `${root}/m`, batching }) },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  return serving
}

it('a model answers requests of different lengths in one run, each with its own length', async () => {
  const serving = serve({ inputs: { x: {} }, outputs: { y: {} }, lengthBuckets: [8] })
  await serving.ready()
  const rows = [
    [1, 1],
    [1, 2, 3],
    [4, 5],
    [1, 2, 3, 4, 5, 6, 7, 8],
    [9, 9, 9],
  ]
  const answers = await Promise.all(rows.map((x) => serving.predict('m', { x })))
  expect(answers.map(({ prediction }) => prediction)).toEqual(
    rows.map((x) => ({ y: x.map((value) => 2 * value), sum: x.reduce((sum, value) => sum + value, 0) })),
  )
  expect(answers.map(({ meta }) => meta.batchRows)).toEqual([5, 5, 5, 5, 5])
})

it.each([
  [{ inputs: { z: {} } }, 'axis 1 of input "z" must be of variable length; there is none of that name.'],
  [
    { inputs: { x: { axis: 2 } } },
    'axis 2 of input "x" must be of variable length; it is float32 [batch, length].',
  ],
  [
    { inputs: { x: {} }, outputs: { sum: {} } },
    'axis 1 of output "sum" must be of variable length; it is float32 [batch, 1].',
  ],
  [
    { inputs: { x: {} }, outputs: { y: { like: 'z' } } },
    'output "y" is like "z", which is not a ragged input.',
  ],
  [{ inputs: {} }, 'inputs names no input.'],
  [
    { inputs: { x: { padValue: 'none' } }, outputs: { y: {} } },
    'padValue of input "x" (float32 [batch, length]) must be a number; got "none".',
  ],
  [
    { inputs: { x: {} } },
    'output "y" (float32 [batch, length]) is as long as input "x" along axis 1, and would keep what was filled up. ' +
      'Add to outputs: {"y":{}}.',
  ],
])('%j is refused at load', async (ragged, message) => {
  await expect(serve(ragged).ready()).rejects.toThrow(message)
})

/** `y` is `x` without its last two entries. */
const shortening = model({
  nodes: [node('Slice', ['x', 'from', 'to', 'axes'], ['y'])],
  inputs: [tensorValue('x', 'float32', ['batch', 'length'])],
  outputs: [tensorValue('y', 'float32', ['batch', 'less'])],
  initializers: [integers('from', [1], [0]), integers('to', [1], [-2]), integers('axes', [1], [1])],
})

it('an output that is not as long as its input is told of, rather than filled with zeros', async () => {
  const serving = serve({ inputs: { x: {} }, outputs: { y: {} } }, shortening)
  await serving.ready()
  const answers = await Promise.allSettled(
    [[1, 2, 3], [1, 2, 3, 4], [5]].map((x) => serving.predict('m', { x })),
  )
  expect(answers.map((answer) => (answer.status === 'rejected' ? String(answer.reason) : ''))).toEqual(
    Array(3).fill(expect.stringMatching(/output "y" has \d entries along axis 1 where input "x" has \d/)),
  )
})

it.each([
  ['int64', 0.5, 'an integer from'],
  ['int64', 'x', 'an integer from'],
  ['uint8', -1, 'an integer from 0 to 255'],
  ['bool', 2, '0 or 1'],
  ['string', 0, 'a string'],
] as const)('%s is not filled up with %j', async (dtype, padValue, expected) => {
  const shape = ['batch', 'length']
  const serving = serve({ inputs: { x: { padValue } }, outputs: { y: {} } }, identityModel({ dtype, shape }))
  await expect(serving.ready()).rejects.toThrow(`must be ${expected}`)
})

it('an output with two axes of the length of an input is refused', async () => {
  const pairs = model({
    nodes: [
      node('Unsqueeze', ['x', 'last'], ['column']),
      node('Unsqueeze', ['x', 'first'], ['row']),
      node('Mul', ['column', 'row'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', 'length'])],
    outputs: [tensorValue('y', 'float32', ['batch', 'length', 'length'])],
    initializers: [integers('last', [1], [2]), integers('first', [1], [1])],
  })
  const serving = serve({ inputs: { x: {} }, outputs: { y: {} } }, pairs)
  await expect(serving.ready()).rejects.toThrow('along axis 2, and would keep what was filled up')
})

it('a model without ragged inputs has batches of no more elements than it may', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': doubling })
  const batching = { safe: true, maxBatchSize: 8, maxBatchElements: 8 } as const
  const serving = createServing({
    models: { m: onnx({ source: `${root}/m`, batching }) },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => serving.predict('m', { x: [1, 2, 3, 4] })),
  )
  expect(answers.map(({ meta }) => meta.batchRows)).toEqual([2, 2, 2, 2, 2, 2])
})

it('wrong options are named', () => {
  expect(() => serve({ inputs: { x: { axis: 0 } } })).toThrow(
    'batching: ragged: inputs.x: axis must be an integer from 1 to 64; got 0',
  )
  expect(() => serve({})).toThrow('ragged.inputs is missing')
})
