import { describe, expect, it, test, vi } from 'vitest'
import { checkNeighbours } from '../../src/batching/neighbour-check.js'
import { InlineSession } from '../../src/execution/inline.js'
import { float32, type Feeds, type TensorInfo } from '../../src/tensor/tensor.js'
import { modelFolder } from '../execution/support.js'
import * as coupled from '../onnx/coupled.js'
import { identityModel, mlp, twoInputs } from '../onnx/models.js'
import * as rowWise from '../onnx/row-wise.js'

const write = modelFolder()
const x: readonly TensorInfo[] = [{ name: 'x', dtype: 'float32', shape: ['batch', 2] }]

let count = 0

async function check(bytes: Uint8Array) {
  const session = await InlineSession.create(write(`m${count++}`, bytes))
  try {
    return await checkNeighbours(async (feeds) => (await session.run(feeds)).outputs, session.signature)
  } finally {
    await session.close()
  }
}

describe('runs alone show that a row’s answer depends on its neighbours, for', () => {
  test.each([
    ['dynamic quantisation', coupled.dynamicallyQuantised()],
    ['its fused form', coupled.dynamicallyQuantisedFused()],
    ['a mean over axis 0', coupled.meanOverRows()],
    ['a mean after a transpose', coupled.meanAfterTranspose()],
    ['the largest of all', coupled.maxOfAll()],
    ['a GRU over axis 0', coupled.recurrentOverRows('GRU')],
    ['an LSTM over axis 0', coupled.recurrentOverRows('LSTM')],
    ['a mean inside an If', coupled.meanInsideIf()],
    ['a mean inside a Loop', coupled.meanInsideLoop()],
    ['a Scan over axis 0', coupled.scanOverRows()],
    ['a softmax over axis 0', coupled.softmaxOverRows()],
    ['a running sum', coupled.sumOfRowsBefore()],
    ['x times its transpose', coupled.similarities()],
    ['sorted rows', coupled.sortedRows()],
    ['rows folded into one', coupled.foldedRows()],
    ['a division by the number of rows', coupled.dividedByCount()],
    ['the first row beside each', coupled.besideFirstRow()],
  ])('%s', async (_, bytes) => {
    const { verdict, reason } = await check(bytes)
    expect(reason).toMatch(/^output "y" of a row is \S+ alone and \S+ beside \d others$/)
    expect(verdict).toBe('coupled')
  })
})

describe('runs find nothing in', () => {
  test.each([
    ['dense layers', mlp()],
    ['texts', identityModel({ dtype: 'string', shape: ['N'] })],
    ['half floats', identityModel({ dtype: 'float16' })],
    ['several inputs', twoInputs()],
    ['axes of other names', rowWise.otherNames('unk__214', '')],
    ['a transformer', rowWise.attentionBlock()],
    ['heads folded into the rows', rowWise.foldedHeads()],
    ['a GRU over time', rowWise.recurrentOverTime()],
    ['a Scan over time', rowWise.scanOverTime()],
    ['static quantisation', rowWise.staticallyQuantised()],
    ['an embedding of ids', rowWise.embedding()],
    ['a tree ensemble', rowWise.treeEnsemble()],
  ])('%s', async (_, bytes) => {
    expect(await check(bytes)).toMatchObject({ verdict: 'independent' })
  })
})

describe('a check', () => {
  it('takes real rows where there are any, and leaves them as they are', async () => {
    const samples = [1, 2, 3].map((value) => ({ x: float32([value, -value], [1, 2]) }))
    const seen = new Set<number>()
    const run = async (feeds: Feeds) => {
      for (const value of feeds.x?.data ?? []) seen.add(Math.abs(Number(value)))
      return feeds
    }
    expect(await checkNeighbours(run, { inputs: x }, { samples })).toMatchObject({ verdict: 'independent' })
    expect([...seen].sort((a, b) => a - b)).toEqual([1, 2, 3, 20, 300])
    expect(samples.map((sample) => Array.from(sample.x.data))).toEqual([
      [1, -1],
      [2, -2],
      [3, -3],
    ])
  })

  it('refuses an output that has not one entry for each row', async () => {
    const run = async () => ({ y: float32([1, 2], [1, 2]) })
    expect(await checkNeighbours(run, { inputs: x })).toEqual({
      verdict: 'coupled',
      reason: 'output "y" is of the shape [1, 2] for 4 rows',
    })
  })

  it('takes NaN for equal to NaN, and not to a number', async () => {
    const answer = (value: (rows: number) => number) => async (feeds: Feeds) => {
      const rows = feeds.x?.shape[0] ?? 0
      return { y: float32(Array.from({ length: rows }, () => value(rows))) }
    }
    const verdicts = [
      () => NaN,
      () => Infinity,
      (rows: number) => (rows > 1 ? NaN : 1),
      (rows: number) => (rows > 1 ? Infinity : 1),
    ]
    const found = await Promise.all(verdicts.map((value) => checkNeighbours(answer(value), { inputs: x })))
    expect(found.map(({ verdict }) => verdict)).toEqual(['independent', 'independent', 'coupled', 'coupled'])
  })

  it('allows for sums in another order, and no more', async () => {
    const scaledBy = (factor: number) => async (feeds: Feeds) => {
      const rows = feeds.x?.shape[0] ?? 0
      return { y: float32(Array.from({ length: rows }, () => (rows > 1 ? factor : 1))) }
    }
    expect(await checkNeighbours(scaledBy(1.0005), { inputs: x })).toMatchObject({ verdict: 'independent' })
    expect(await checkNeighbours(scaledBy(1.005), { inputs: x })).toMatchObject({ verdict: 'coupled' })
  })

  it('does not know where the model takes none of its rows, and never rejects', async () => {
    const run = async () => {
      throw new Error('out of range')
    }
    expect(await checkNeighbours(run, { inputs: x })).toEqual({
      verdict: 'unknown',
      reason: 'rows to try it with failed: out of range',
    })
  })

  it.each([
    [
      "Non-zero status code returned while running Reshape node. Name:'/encoder/Reshape' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:84 onnxruntime::ReshapeHelper(bool) size != 0 was false.\nThe input\n",
      "Non-zero status code returned while running Reshape node. Name:'/encoder/Reshape' Status Message: onnxruntime::ReshapeHelper(bool) size != 0 was false.",
    ],
    ['D:\\a\\_work\\1\\s\\core\\graph\\graph.cc:12 failed:\r\nsecond', 'failed:'],
    ['1/2 of the rows', '1/2 of the rows'],
  ])(
    "says in short what the runtime says of it: no file of the runtime's, and one line",
    async (said, told) => {
      const run = () => Promise.reject(new Error(said))
      const { reason } = await checkNeighbours(run, { inputs: x })
      expect(reason).toBe(`rows to try it with failed: ${told}`)
    },
  )

  it('tries longer axes where a model takes no short ones', async () => {
    const inputs: readonly TensorInfo[] = [{ name: 'x', dtype: 'float32', shape: ['', 'width'] }]
    const run = vi.fn(async (feeds: Feeds) => {
      if ((feeds.x?.shape[1] ?? 0) % 32 !== 0) throw new Error('not a multiple of 32')
      return feeds
    })
    expect(await checkNeighbours(run, { inputs })).toMatchObject({ verdict: 'independent' })
    expect(run).toHaveBeenCalledTimes(9)
  })

  it('makes up no rows that are very large', async () => {
    const inputs = [{ name: 'x', dtype: 'float32', shape: ['n', '', '', '', ''] }] as const
    const sizes: number[] = []
    const run = (feeds: Feeds) => {
      sizes.push(feeds.x?.data.length ?? 0)
      return Promise.reject(new Error('not mine'))
    }
    expect((await checkNeighbours(run, { inputs })).verdict).toBe('unknown')
    expect(sizes).toEqual([8 ** 4])
    const image = [{ name: 'x', dtype: 'float32', shape: ['n', 3, 4096, 4096] }] as const
    expect(await checkNeighbours(run, { inputs: image })).toEqual({
      verdict: 'unknown',
      reason: 'rows to try it with failed: they would be too large to be made up',
    })
  })

  it('refuses an input without a leading axis of variable length, and runs nothing', async () => {
    const run = vi.fn()
    const inputs: readonly TensorInfo[] = [{ name: 'x', dtype: 'float32', shape: [1, 2] }]
    expect(await checkNeighbours(run, { inputs })).toMatchObject({ verdict: 'coupled' })
    expect(run).not.toHaveBeenCalled()
  })
})
