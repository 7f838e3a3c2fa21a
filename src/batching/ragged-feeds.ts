import { ServingError } from '../errors.js'
import { cutAxis, padAxis } from '../tensor/axis.js'
import { concatRows, sliceRows } from '../tensor/batch.js'
import { emptyLike, type Feeds, type Tensor } from '../tensor/tensor.js'
import type { Batchable } from './executor.js'
import { batchedFeeds, elementsOfRow } from './feeds-batch.js'

/** An input whose rows may be of different lengths. */
export interface RaggedInput {
  /** The axis along which they differ, beyond the batch axis. Default: 1. */
  readonly axis?: number
  /** What shorter ones are filled with. Default: 0; `""` for texts. */
  readonly padValue?: number | string
}

/** An output that is as long as an input. */
export interface RaggedOutput {
  /** The axis that is cut back. Default: 1. */
  readonly axis?: number
  /** The input whose length it has. Default: the first of the ragged ones. */
  readonly like?: string
}

export interface RaggedOptions {
  /** By input name; those left out have the same shape in every row. */
  readonly inputs: Readonly<Record<string, RaggedInput>>
  /** By output name; those left out are as long for any input. Default: none is cut back. */
  readonly outputs?: Readonly<Record<string, RaggedOutput>>
  /**
   * Lengths up to which rows are padded together: a row shares a batch with those that fall under the same one, and
   * above the last with its equals alone. Default: the powers of two.
   */
  readonly lengthBuckets?: readonly number[]
}

/**
 * Joins inputs of different lengths: within a bucket of lengths, the shorter filled up to the longest of their batch,
 * and their outputs cut back to their own length.
 */
export function raggedFeeds({ inputs, outputs = {}, lengthBuckets }: RaggedOptions): Batchable<Feeds, Feeds> {
  const [firstInput = ''] = Object.keys(inputs)
  const buckets = lengthBuckets && [...lengthBuckets].sort((a, b) => a - b)
  const axisOf = (name: string) => inputs[name]?.axis ?? 1
  const isRagged = (name: string) => Object.hasOwn(inputs, name)
  const lengthOf = (feeds: Feeds, name: string) => feeds[name]?.shape[axisOf(name)] ?? 0

  return {
    ...batchedFeeds,
    rowElements: elementsOfRow,
    signature: (feeds) => {
      let signature = ''
      for (const name in feeds) {
        const { dtype, shape } = feeds[name] ?? { dtype: '', shape: [] }
        const own = shape.slice(1)
        if (isRagged(name)) own[axisOf(name) - 1] = bucketOf(lengthOf(feeds, name), buckets)
        signature += `${name}:${dtype}:${own.join('x')};`
      }
      return signature
    },
    concat: (all) => {
      const padded = all.map((feeds) => Object.assign(emptyLike<Tensor>(feeds), feeds))
      for (const [name, { padValue }] of Object.entries(inputs)) {
        const longest = Math.max(...all.map((feeds) => lengthOf(feeds, name)))
        for (const feeds of padded) {
          const tensor = feeds[name]
          if (tensor === undefined) continue
          const value = padValue ?? (tensor.dtype === 'string' ? '' : 0)
          feeds[name] = padAxis(tensor, axisOf(name), longest, value)
        }
      }
      return concatRows(padded)
    },
    sliceResult: (result, from, to, input) => {
      const own = Object.assign(emptyLike<Tensor>(result), sliceRows(result, from, to))
      for (const [name, { axis = 1, like = firstInput }] of Object.entries(outputs)) {
        const tensor = own[name]
        if (tensor !== undefined) own[name] = cutAxis(tensor, axis, lengthOf(input, like))
      }
      return own
    },
  }
}

/**
 * Checks that each output that is to be cut back is as long as the input that it is like.
 * @throws ServingError INVALID_CODEC
 */
export function checkRaggedOutputs(
  { inputs, outputs = {} }: RaggedOptions,
  feeds: Feeds,
  results: Feeds,
): void {
  const [firstInput = ''] = Object.keys(inputs)
  for (const [name, { axis = 1, like = firstInput }] of Object.entries(outputs)) {
    const length = feeds[like]?.shape[inputs[like]?.axis ?? 1]
    const own = results[name]?.shape[axis]
    if (own === undefined || own === length) continue
    throw new ServingError(
      'INVALID_CODEC',
      `output "${name}" has ${own} entries along axis ${axis} where input "${like}" has ${length}: it can't be cut back ` +
        'to the length of each request. Leave ragged out.',
    )
  }
}

/** The length that stands for those up to it in a signature. */
function bucketOf(length: number, buckets: readonly number[] | undefined): number {
  if (buckets !== undefined) return buckets.find((bucket) => length <= bucket) ?? length
  return length <= 1 ? length : 2 ** Math.ceil(Math.log2(length))
}
