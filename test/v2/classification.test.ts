import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Tensor } from '../../src/tensor/tensor.js'
import { topClasses } from '../../src/v2/classification.js'

const scores = (tensor: Tensor, hasRows = true, labels?: readonly string[]) => ({
  name: 'y',
  tensor,
  hasRows,
  labels,
})
const floats = (shape: readonly number[], ...values: number[]): Tensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from(values),
})

test('each row has its highest scores, the first of equal ones before the others, and NaN last', () => {
  const tensor = floats([2, 4], 1, 3, 3, 2, NaN, -1, NaN, 0)
  expect(topClasses(scores(tensor), 3)).toEqual({
    dtype: 'string',
    shape: [2, 3],
    data: ['3:1', '3:2', '2:3', '0:3', '-1:1', 'NaN:0'],
  })
})

test('there are no more than there are classes, and none in no rows', () => {
  expect(topClasses(scores(floats([1, 2], 1, 2)), 9)).toMatchObject({ shape: [1, 2], data: ['2:1', '1:0'] })
  expect(topClasses(scores(floats([0, 2])), 1)).toMatchObject({ shape: [0, 1], data: [] })
})

test('classes have their labels, as far as there are any', () => {
  expect(topClasses(scores(floats([1, 2], 1, 2), true, ['cat']), 2).data).toEqual(['2:1', '1:0:cat'])
})

test('they are those that come first in the order of all', () => {
  const few = fc.constantFrom(0, -0, 1, 2, NaN, Infinity, -Infinity)
  fc.assert(
    fc.property(fc.array(few, { maxLength: 12 }), fc.integer({ min: 1, max: 13 }), (values, most) => {
      const rank = (i: number) => (Number.isNaN(values[i]) ? 1 : 0)
      const order = values.map((_, i) => i)
      order.sort(
        (a, b) =>
          rank(a) - rank(b) || (values[a] === values[b] ? 0 : (values[b] ?? 0) - (values[a] ?? 0)) || a - b,
      )
      const { data } = topClasses(scores(floats([1, values.length], ...values)), most)
      expect(data.map((each) => Number(each.split(':')[1]))).toEqual(order.slice(0, most))
    }),
  )
})

test('more classes than anybody reads are refused, in all rows together', () => {
  const many = floats([2, 40_000], ...new Array<number>(80_000).fill(1))
  expect(topClasses(scores(many), 30_000).shape).toEqual([2, 30_000])
  expect(() => topClasses(scores(many), 1e300)).toThrow(
    'output "y": at most 65536 classes can be asked for; 40000 of each of 2 rows are 80000.',
  )
})

test('without rows all elements are the scores of one', () => {
  expect(topClasses(scores(floats([2, 2], 1, 4, 3, 2), false), 2)).toMatchObject({
    shape: [2],
    data: ['4:1', '3:2'],
  })
  expect(topClasses(scores(floats([], 7)), 1)).toMatchObject({ shape: [1], data: ['7:0'] })
})

test('64-bit integers and float16 are compared as the numbers they are', () => {
  const big: Tensor = { dtype: 'int64', shape: [1, 2], data: BigInt64Array.of(2n ** 60n, 2n ** 60n + 1n) }
  expect(topClasses(scores(big), 1).data).toEqual([`${2n ** 60n + 1n}:1`])
  const half: Tensor = { dtype: 'float16', shape: [1, 2], data: Uint16Array.of(0xbc00, 0x3c00) }
  expect(topClasses(scores(half), 2).data).toEqual(['1:1', '-1:0'])
})

test('what is no score is refused', () => {
  const words: Tensor = { dtype: 'string', shape: [1], data: ['a'] }
  expect(() => topClasses(scores(words), 1)).toThrow('output "y" has no scores')
})
