import { messageOf } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { concatRows, ownCopy, sliceRows } from '../tensor/batch.js'
import { fromFloat16 } from '../tensor/float16.js'
import { describeShape, type Feeds, type Tensor } from '../tensor/tensor.js'
import { generatedElements, generatedRow, scaled } from './generated-rows.js'

/** What a check found: that neighbours change nothing, that they do, or that it could not be found out. */
export interface NeighbourFinding {
  readonly verdict: 'independent' | 'coupled' | 'unknown'
  readonly reason: string
}

export interface NeighbourCheckOptions {
  /** Real inputs of one row each, with all the inputs of the model. Default: made up from the signature. */
  readonly samples?: readonly Feeds[] | undefined
}

/** Lengths of axes that may vary: the first that the model takes. Images are often held to multiples of 32. */
const lengths = [8, 64]

/** The largest row that is made up, in elements: those of more would hold up the event loop, and gain nothing by batches. */
const mostElements = 2 ** 21

/** Rows that are told apart: enough for a batch in which each neighbour of a row can be another one. */
const rowCount = 4

/**
 * Neighbours that show what rows have in common: a scale that is taken from a whole batch hardly moves with like
 * rows, and ruins the small beside one of 300 times its size.
 */
const batches: readonly (readonly { readonly row: number; readonly factor: number }[])[] = [
  [0, 1, 2, 3].map((row) => ({ row, factor: 1 })),
  [2, 0, 3].map((row) => ({ row, factor: 1 })),
  [
    { row: 0, factor: 1 },
    { row: 1, factor: 10 },
    { row: 2, factor: 1 },
    { row: 3, factor: 300 },
  ],
  [
    { row: 0, factor: 300 },
    { row: 1, factor: 1 },
  ],
]

/**
 * Runs rows alone, and beside others: distinct, permuted, and far larger ones. A row's answer has to be the same
 * within a tolerance, and each output's first dimension the number of rows. Eight small runs; never rejects.
 *
 * It finds no coupling that these rows don't show: it tells against batching with certainty, and for it only together
 * with what is known of the graph.
 *
 * @param run takes ownership of the feeds
 */
export async function checkNeighbours(
  run: (feeds: Feeds) => Promise<Feeds>,
  { inputs }: Pick<ModelSignature, 'inputs'>,
  { samples = [] }: NeighbourCheckOptions = {},
): Promise<NeighbourFinding> {
  const fixed = inputs.find(({ shape }) => typeof shape[0] !== 'string')
  if (fixed !== undefined || inputs.length === 0)
    return {
      verdict: 'coupled',
      reason: `input "${fixed?.name ?? ''}" has no leading axis of variable length`,
    }
  const attempts =
    samples.length > 0
      ? [(i: number) => samples[i % samples.length] ?? {}]
      : lengths
          .filter((length) => generatedElements(inputs, length) <= mostElements)
          .map((length) => (i: number) => generatedRow(inputs, i, length))
  let failure: unknown = new Error('they would be too large to be made up')
  for (const rowAt of attempts) {
    try {
      return await compared(run, rowAt)
    } catch (error) {
      failure = error
    }
  }
  return { verdict: 'unknown', reason: `rows to try it with failed: ${inShort(messageOf(failure))}` }
}

/** The first line of a runtime's message, without the place in its source that it begins with. */
function inShort(message: string): string {
  const [line = ''] = message.trim().split(/[\r\n]/)
  return line
    .replaceAll(/(?:[A-Za-z]:)?[^\s'"]*[\\/][^\s'"]*\.(?:hpp|h|cpp|cuh|cu|cc|c)(?::\d+)?\s*/g, '')
    .trim()
}

async function compared(
  run: (feeds: Feeds) => Promise<Feeds>,
  rowAt: (i: number) => Feeds,
): Promise<NeighbourFinding> {
  const rows: Feeds[] = []
  const alone: Feeds[] = []
  // One at a time: what makes up a large one holds up the event loop.
  for (let i = 0; i < rowCount; i++) {
    const row = rowAt(i)
    rows.push(row)
    const outputs = await run(ownCopy(row))
    const problem = rowProblem(outputs, 1)
    if (problem !== undefined) return { verdict: 'coupled', reason: problem }
    alone.push(outputs)
  }
  for (const batch of batches) {
    const parts = batch.map(({ row, factor }) => scaled(rows[row] ?? {}, factor))
    const outputs = await run(concatRows(parts))
    const problem = rowProblem(outputs, batch.length) ?? difference(batch, outputs, alone)
    if (problem !== undefined) return { verdict: 'coupled', reason: problem }
  }
  return { verdict: 'independent', reason: 'answers were the same alone and beside other rows' }
}

function rowProblem(outputs: Feeds, rows: number): string | undefined {
  const found = Object.entries(outputs).find(([, { shape }]) => shape[0] !== rows)
  return found && `output "${found[0]}" is of the shape ${describeShape(found[1].shape)} for ${rows} rows`
}

/** Where the answer to a row of its own size differs from the one it has alone. */
function difference(
  batch: (typeof batches)[number],
  outputs: Feeds,
  alone: readonly Feeds[],
): string | undefined {
  for (const [place, { row, factor }] of batch.entries()) {
    if (factor !== 1) continue
    const own = sliceRows(outputs, place, place + 1)
    for (const [name, tensor] of Object.entries(alone[row] ?? {})) {
      const scale = Math.max(0, ...alone.map((answer) => magnitude(answer[name])))
      const found = differs(tensor, own[name], scale)
      if (found !== undefined) return `output "${name}" of a row ${found} beside ${batch.length - 1} others`
    }
  }
  return undefined
}

/** The largest finite number of a tensor, without its sign. */
function magnitude(tensor: Tensor | undefined): number {
  if (tensor === undefined || !isFloat(tensor)) return 0
  let largest = 0
  for (let i = 0; i < tensor.data.length; i++) {
    const value = Math.abs(floatAt(tensor, i))
    if (value > largest && value < Infinity) largest = value
  }
  return largest
}

/** Relative to a number, and to the largest of its output: sums are made in another order for other sizes of a batch. */
const tolerances = {
  float16: { relative: 1e-2, ofScale: 1e-3 },
  float32: { relative: 1e-3, ofScale: 1e-5 },
  float64: { relative: 1e-3, ofScale: 1e-5 },
} as const

function differs(alone: Tensor, beside: Tensor | undefined, scale: number): string | undefined {
  if (beside === undefined || describeShape(alone.shape) !== describeShape(beside.shape))
    return `has the shape ${describeShape(alone.shape)} alone and ${describeShape(beside?.shape ?? [])}`
  for (let i = 0; i < alone.data.length; i++) {
    if (!isFloat(alone) || !isFloat(beside)) {
      if (alone.data[i] === beside.data[i]) continue
      return `is ${String(alone.data[i])} alone and ${String(beside.data[i])}`
    }
    const [a, b] = [floatAt(alone, i), floatAt(beside, i)]
    if (Object.is(a, b) || a === b) continue
    if (!Number.isFinite(a) || !Number.isFinite(b)) return `is ${a} alone and ${b}`
    const { relative, ofScale } = tolerances[alone.dtype]
    if (Math.abs(a - b) <= relative * Math.max(Math.abs(a), Math.abs(b)) + ofScale * scale) continue
    return `is ${a} alone and ${b}`
  }
  return undefined
}

type FloatTensor = Extract<Tensor, { dtype: keyof typeof tolerances }>

function isFloat(tensor: Tensor): tensor is FloatTensor {
  return Object.hasOwn(tolerances, tensor.dtype)
}

function floatAt(tensor: FloatTensor, i: number): number {
  const value = tensor.data[i] ?? 0
  return tensor.dtype === 'float16' ? fromFloat16(value) : value
}
