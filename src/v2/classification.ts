import { ServingError } from '../errors.js'
import { fromFloat16 } from '../tensor/float16.js'
import { elementCount, type Tensor } from '../tensor/tensor.js'

/** How the scores of an output lie, and what they are of. */
export interface ScoredOutput {
  readonly name: string
  readonly tensor: Tensor
  /** Whether its first dimension is that of the rows, each of which has scores of its own. */
  readonly hasRows: boolean
  /** The names of the classes, in the order of their scores, where they are known. */
  readonly labels: readonly string[] | undefined
}

/** In all rows of an output: far more than anybody reads, and few enough to be written in no time. */
const mostClasses = 65_536

/**
 * The highest scores of each row, the highest first, as `score:index`, or `score:index:label` where the classes have
 * names: strings of [rows, most], without rows of [most].
 * @param most how many of a row; all, where there are fewer
 * @throws ServingError INVALID_REQUEST for an output that has no numbers, and for more than 65,536 classes in all
 */
export function topClasses({ name, tensor, hasRows, labels }: ScoredOutput, most: number): Tensor<'string'> {
  const { dtype, shape } = tensor
  if (dtype === 'string' || dtype === 'bool')
    throw new ServingError(
      'INVALID_REQUEST',
      `output "${name}" has no scores to classify by: it is ${dtype}.`,
    )
  const isPerRow = hasRows && shape.length > 0
  const rows = isPerRow ? (shape[0] ?? 0) : 1
  const rowSize = elementCount(isPerRow ? shape.slice(1) : shape)
  const count = Math.min(most, rowSize)
  if (rows * count > mostClasses)
    throw new ServingError(
      'INVALID_REQUEST',
      `output "${name}": at most ${mostClasses} classes can be asked for; ${count} of each of ${rows} rows are ${rows * count}.`,
    )
  const scores = dtype === 'float16' ? Float32Array.from(tensor.data, fromFloat16) : tensor.data
  const data: string[] = []
  for (let row = 0; row < rows; row++) {
    const own = scores.subarray(row * rowSize, (row + 1) * rowSize)
    for (const index of highest(own, count)) {
      const label = labels?.[index]
      data.push(`${own[index] ?? ''}:${index}${label === undefined ? '' : `:${label}`}`)
    }
  }
  return { dtype: 'string', shape: isPerRow ? [rows, count] : [count], data }
}

type Scores = Exclude<Tensor['data'], readonly string[]>

/** The indexes of the highest scores; of equal ones the first, and NaN last. */
function highest(scores: Scores, count: number): number[] {
  const least = lowestOfHighest(scores, count)
  const above: number[] = []
  const equal: number[] = []
  for (let i = 0; i < scores.length; i++) {
    const order = descending(scores[i] ?? 0, least)
    if (order < 0) above.push(i)
    else if (order === 0 && equal.length < count) equal.push(i)
  }
  return [...above.sort((a, b) => descending(scores[a] ?? 0, scores[b] ?? 0)), ...equal].slice(0, count)
}

/** Found by the arrays' own sort, which takes a tenth of the time that one by a function does. */
function lowestOfHighest(scores: Scores, count: number): number | bigint {
  const ascending = scores.slice().sort()
  // NaN is the highest there.
  let numbers = ascending.length
  while (Number.isNaN(ascending[numbers - 1])) numbers--
  return ascending[numbers - count] ?? NaN
}

/** As {@link Array.sort} takes it, with NaN last. */
function descending(a: number | bigint, b: number | bigint): number {
  if (a > b) return -1
  if (a < b) return 1
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
}
