import { describe, expect, test } from 'vitest'
import type { Tensor } from '../../src/tensor/tensor.js'
import { tensorMessage } from '../../src/v2/tensor-message.js'

const jsonOf = (tensor: Tensor) => tensorMessage('y', tensor, false).json

test('a tensor says its name, its datatype and its shape', () => {
  expect(jsonOf({ dtype: 'int8', shape: [1, 2], data: Int8Array.of(-1, 2) })).toBe(
    '{"name":"y","datatype":"INT8","shape":[1,2],"data":[-1,2]}',
  )
  expect(tensorMessage('a "b"', { dtype: 'int16', shape: [], data: Int16Array.of(258) }, true)).toEqual({
    json: String.raw`{"name":"a \"b\"","datatype":"INT16","shape":[],"parameters":{"binary_data_size":2}}`,
    raw: Uint8Array.of(2, 1),
  })
})

describe('elements', () => {
  test.each<[string, Tensor, string]>([
    [
      'int64',
      { dtype: 'int64', shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n) },
      '[-9223372036854775808,9007199254740993]',
    ],
    [
      'uint64',
      { dtype: 'uint64', shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) },
      '[18446744073709551615]',
    ],
    [
      'float32',
      { dtype: 'float32', shape: [5], data: Float32Array.of(0.5, NaN, Infinity, -Infinity, 1e30) },
      '[0.5,null,null,null,1.0000000150474662e+30]',
    ],
    [
      'a zero below zero',
      { dtype: 'float64', shape: [3], data: Float64Array.of(-0, 1e21, NaN) },
      '[-0,1e+21,null]',
    ],
    [
      'float16',
      { dtype: 'float16', shape: [3], data: Uint16Array.of(0x3e00, 0x8000, 0x7e00) },
      '[1.5,-0,null]',
    ],
    ['bool', { dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) }, '[false,true]'],
    ['strings', { dtype: 'string', shape: [2], data: ['"', '\u{1f40e}'] }, String.raw`["\"","🐎"]`],
    ['none', { dtype: 'int64', shape: [0], data: new BigInt64Array() }, '[]'],
  ])('of %s are written so that nothing is lost, and JSON stays JSON', (_what, tensor, data) => {
    const json = jsonOf(tensor)
    expect(json).toContain(`"data":${data}}`)
    expect(() => JSON.parse(json) as unknown).not.toThrow()
  })
})
