import { describe, expect, it } from 'vitest'
import { MetadataCodec } from '../../src/models/metadata-codec.js'
import { float32 } from '../../src/tensor/tensor.js'

/** Decodes `y`, of the shape that the model states. */
function decode(
  shape: readonly (number | string)[],
  data: readonly number[],
  dims: readonly number[],
): unknown {
  const signature = {
    inputs: [{ name: 'x', dtype: 'float32', shape: ['batch', 3] }],
    outputs: [{ name: 'y', dtype: 'float32', shape }],
    classes: {},
  } as const
  const codec = new MetadataCodec('any@1', signature, true, undefined, undefined)
  return codec.decode({ y: float32(data, dims) }, dims[0] ?? 1).prediction
}

describe("a row's value", () => {
  it('is a number where the model says that a row is one element', () => {
    expect(decode(['batch', 1], [7], [1, 1])).toBe(7)
    expect(decode(['batch'], [7], [1])).toBe(7)
  })

  it.each([['n'], ['']])('is a list where its length varies (%j), of one number too', (length) => {
    expect(decode(['batch', length], [7, 8], [1, 2])).toEqual([7, 8])
    expect(decode(['batch', length], [7], [1, 1])).toEqual([7])
  })

  it('is a list where the model does not state a shape', () => {
    expect(decode([], [7], [1, 1])).toEqual([7])
  })

  it('keeps each of the axes beyond that of the rows', () => {
    expect(decode(['batch', 1, 1], [7], [1, 1, 1])).toEqual([[7]])
    expect(decode(['batch', 'n', 1], [7], [1, 1, 1])).toEqual([[7]])
  })

  it('keeps its form in a batch', () => {
    expect(decode(['batch', 1], [7, 8], [2, 1])).toEqual([[7], [8]])
    expect(decode(['batch', 'n'], [7, 8], [2, 1])).toEqual([[7], [8]])
  })
})
