import { expect, it } from 'vitest'
import { digest } from '../../src/tensor/digest.js'
import { float32, int64, strings, type Feeds } from '../../src/tensor/tensor.js'

it('is the same for equal feeds, whatever the order of their names', () => {
  const one: Feeds = { a: float32([1, 2]), b: strings(['x']) }
  const other: Feeds = { b: strings(['x']), a: float32([1, 2]) }
  expect(digest(one)).toBe(digest(other))
  expect(digest({ a: { dtype: 'float32', shape: [2], data: new Float32Array([0, 1, 2]).subarray(1) } })).toBe(
    digest({ a: float32([1, 2]) }),
  )
})

it('differs in name, dtype, shape, elements, and where one text ends and the next begins', () => {
  const zeros = new Float32Array(2)
  const feeds: Feeds[] = [
    {},
    { a: float32([1, 2]) },
    { b: float32([1, 2]) },
    { a: float32([1, 2], [1, 2]) },
    { a: float32([1, 3]) },
    { a: float32([0, 0]) },
    { a: { dtype: 'float16', shape: [2], data: new Uint16Array(2) } },
    { a: { dtype: 'int64', shape: [1], data: new BigInt64Array(zeros.buffer.slice(0)) } },
    { a: int64([1]) },
    { a: float32([-0, 0]) },
    { a: strings(['ab', 'c']) },
    { a: strings(['a', 'bc']) },
    { a: strings(['abc']) },
    { a: strings(['abc', '']) },
    { ab: strings(['c']) },
    { a: float32([1]), b: float32([2]) },
    { a: float32([2]), b: float32([1]) },
  ]
  expect(new Set(feeds.map(digest)).size).toBe(feeds.length)
})

it('takes inputs of any size', () => {
  const large = () => float32(Float32Array.from({ length: 600_000 }, (_, i) => i))
  expect(digest({ a: large() })).toBe(digest({ a: large() }))
  expect(digest({ a: float32([1]) })).toBe(digest({ a: float32([1]) }))
})
