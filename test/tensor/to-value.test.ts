import { expect, it } from 'vitest'
import { rowOf, toValue } from '../../src/tensor/to-value.js'

it('a tensor becomes nested lists, and one of rank 0 a scalar', () => {
  expect(toValue({ dtype: 'float32', shape: [2, 1, 2], data: Float32Array.of(1, 2, 3, 4) })).toEqual([
    [[1, 2]],
    [[3, 4]],
  ])
  expect(toValue({ dtype: 'string', shape: [], data: ['a'] })).toBe('a')
  expect(toValue({ dtype: 'float32', shape: [0, 3], data: new Float32Array(0) })).toEqual([])
  expect(toValue({ dtype: 'float32', shape: [2, 0], data: new Float32Array(0) })).toEqual([[], []])
})

it('64-bit integers are numbers where a number holds them exactly, else bigints', () => {
  const data = BigInt64Array.of(7n, 2n ** 53n - 1n, 2n ** 53n, -(2n ** 63n))
  expect(toValue({ dtype: 'int64', shape: [4], data })).toEqual([7, 2 ** 53 - 1, 2n ** 53n, -(2n ** 63n)])
})

it('booleans are booleans, and float16 is numbers', () => {
  expect(toValue({ dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) })).toEqual([false, true])
  expect(toValue({ dtype: 'float16', shape: [2], data: Uint16Array.of(0x3c00, 0xc000) })).toEqual([1, -2])
})

it('a row is a view of its part', () => {
  const data = Float32Array.of(1, 2, 3, 4)
  const row = rowOf({ dtype: 'float32', shape: [2, 2], data }, 1)
  expect(row).toEqual({ dtype: 'float32', shape: [2], data: Float32Array.of(3, 4) })
  expect((row.data as Float32Array).buffer).toBe(data.buffer)
})
