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

/**
 * The highest scores of each row, the highest first, as `score:index`, or `score:index:label` where the classes have
 * names: strings of [rows, most], without rows of [most].
 * @param most how many of a row; all, where there are fewer
 * @throws ServingError INVALID_REQUEST for an output that has no numbers
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
  const scores: readonly (number | bigint)[] =
    dtype === 'float16' ? Array.from(tensor.data, fromFloat16) : Array.from<number | bigint>(tensor.data)
  const data: string[] = []
  for (let row = 0; row < rows; row++) {
    const own = scores.slice(row * rowSize, (row + 1) * rowSize)
    for (const index of highest(own, count)) {
      const label = labels?.[index]
      data.push(`${own[index] ?? ''}:${index}${label === undefined ? '' : `:${label}`}`)
    }
  }
  return { dtype: 'string', shape: isPerRow ? [rows, count] : [count], data }
}

/** The indexes of the highest scores; of equal ones the first, and NaN last. */
function highest(scores: readonly (number | bigint)[], count: number): number[] {
  const isNaN = (i: number) => Number.isNaN(scores[i])
  const indexes = Array.from(scores, (_, i) => i).sort((a, b) => {
    const [x = 0, y = 0] = [scores[a], scores[b]]
    if (x > y) return -1
    if (x < y) return 1
    return Number(isNaN(a)) - Number(isNaN(b))
  })
  return indexes.slice(0, count)
}
