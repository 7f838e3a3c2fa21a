import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toTensor } from '../../src/tensor/from-value.js'
import { toValue } from '../../src/tensor/to-value.js'
import type { DType, Tensor, TensorInfo } from '../../src/tensor/tensor.js'

function info(dtype: DType, ...shape: (number | string)[]): TensorInfo {
  return { name: 'x', dtype, shape }
}

describe('a value for an input with a batch axis', () => {
  it('is one row when it has the shape of a row', () => {
    expect(toTensor([1, 2, 3], info('float32', 'batch', 3), true)).toEqual({
      dtype: 'float32',
      shape: [1, 3],
      data: new Float32Array([1, 2, 3]),
    })
  })

  it('is a batch of rows when it has the full rank', () => {
    const tensor = toTensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      info('float32', 'batch', 2),
      true,
    )
    expect(tensor.shape).toEqual([3, 2])
    expect([...tensor.data]).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('may be flat where the shape of a row is fixed', () => {
    expect(toTensor([1, 2, 3, 4], info('float32', '', 1, 2, 2), true).shape).toEqual([1, 1, 2, 2])
  })

  it('may be a scalar where a row is one element', () => {
    expect(toTensor(7, info('int64', 'batch', 1), true)).toMatchObject({
      shape: [1, 1],
      data: BigInt64Array.of(7n),
    })
    expect(toTensor('hi', info('string', 'batch'), true)).toMatchObject({ shape: [1], data: ['hi'] })
  })

  it('takes the length of a variable dimension from the value', () => {
    expect(toTensor([1, 2, 3], info('int64', 'batch', 'sequence'), true).shape).toEqual([1, 3])
  })

  it('may be a typed array of another type, whose values are checked', () => {
    const doubles = toTensor(new Float64Array([0.5, 1]), info('float32', 'batch', 2), true)
    expect(doubles.data).toEqual(new Float32Array([0.5, 1]))
    expect(() => toTensor(new Float64Array([0.5]), info('int64', 'batch', 1), true)).toThrow(
      /must be an integer/,
    )
  })

  it('never shares memory with the tensor', () => {
    const data = new Float32Array([1, 2])
    const tensors = [
      toTensor(data, info('float32', 'batch', 2), true),
      toTensor({ dtype: 'float32', shape: [1, 2], data }, info('float32', 'batch', 2), true),
    ]
    data[0] = 9
    expect(tensors.map((tensor) => tensor.data[0])).toEqual([1, 1])
  })

  it('never shares memory with a Buffer, whose own slice does', () => {
    const data = Buffer.from([1, 2])
    const tensors = [
      toTensor(data, info('uint8', 'batch', 2), true),
      toTensor({ dtype: 'uint8', shape: [1, 2], data }, info('uint8', 'batch', 2), true),
    ]
    data[0] = 9
    expect(tensors.map((tensor) => tensor.data[0])).toEqual([1, 1])
  })
})

describe('a value for an input without a batch axis', () => {
  it('must have the whole shape, of which a leading 1 may be left out', () => {
    const fixed = info('float32', 1, 2)
    expect(toTensor([[1, 2]], fixed, false).shape).toEqual([1, 2])
    expect(toTensor([1, 2], fixed, false).shape).toEqual([1, 2])
    expect(() => toTensor([1, 2, 3], fixed, false)).toThrow(/got \[3\]/)
  })

  it('is a scalar for rank 0', () => {
    expect(toTensor(5, info('int64'), false)).toMatchObject({ shape: [], data: BigInt64Array.of(5n) })
  })
})

describe('a value that does not fit', () => {
  const refusals: [name: string, value: unknown, expected: TensorInfo, message: string][] = [
    [
      'is told the shape it has and what to send',
      Array(29).fill(0),
      info('float32', 'batch', 30),
      'input "x" expects float32 [batch, 30]; got [29]. Send 30 numbers a row.',
    ],
    [
      'is told both forms where a row has several dimensions',
      [1],
      info('float32', 'N', 1, 28, 28),
      'input "x" expects float32 [N, 1, 28, 28]; got [1]. Send 784 numbers a row, flat or nested as [1, 28, 28].',
    ],
    [
      'is told where an element is of the wrong type',
      [0, '1'],
      info('float32', 'batch', 2),
      'input "x" expects float32 [batch, 2]; the value at [1] must be a number; got "1".',
    ],
    [
      'is told where a list is of another length than its neighbours',
      [
        [1, 2],
        [3, 4, 5],
      ],
      info('float32', 'batch', 'length'),
      'input "x" expects float32 [batch, length]; the list at [1] must have 2 entries like its neighbours; got 3.',
    ],
    [
      'is told of a list where an element should be',
      [1, [2]],
      info('float32', 'batch', 2),
      'input "x" expects float32 [batch, 2]; the value at [1] must be a number; got a list.',
    ],
    [
      'is refused for null',
      null,
      info('string', 'batch'),
      'input "x" expects string [batch]; the value must be a string; got null.',
    ],
    [
      'is refused beyond the range of float32',
      [1e39],
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; the value at [0] must be a finite number within the range of float32; got 1e+39.',
    ],
    [
      'is refused for NaN',
      [NaN],
      info('float64', 'batch', 1),
      'input "x" expects float64 [batch, 1]; the value at [0] must be a finite number within the range of float64; got NaN.',
    ],
    [
      'is refused for a fraction where an integer belongs',
      [1.5],
      info('int32', 'batch', 1),
      'input "x" expects int32 [batch, 1]; the value at [0] must be an integer from -2147483648 to 2147483647; got 1.5.',
    ],
    [
      'is refused for a number that has lost digits',
      [2 ** 60],
      info('int64', 'batch', 1),
      'input "x" expects int64 [batch, 1]; the value at [0] must be a bigint where it is beyond 2^53 (a number has lost digits already); got 1152921504606847000.',
    ],
    [
      'is refused beyond 64 bits',
      [2n ** 63n],
      info('int64', 'batch', 1),
      'input "x" expects int64 [batch, 1]; the value at [0] must be an integer from -9223372036854775808 to 9223372036854775807; got 9223372036854775808.',
    ],
    [
      'is refused for 0 and 1 where a boolean belongs',
      [1],
      info('bool', 'batch', 1),
      'input "x" expects bool [batch, 1]; the value at [0] must be true or false; got 1.',
    ],
    [
      'is refused for half a surrogate pair',
      'a\ud800b',
      info('string', 'batch'),
      'input "x" expects string [batch]; the value must be text without half a surrogate pair; got "a\\ud800b".',
    ],
    [
      'is refused for a text that the runtime would cut',
      'a\0b',
      info('string', 'batch'),
      'input "x" expects string [batch]; the value must be text without U+0000, where the runtime would cut it; got "a\\u0000b".',
    ],
    [
      'is refused, in few words, for a tensor whose parts are no such',
      { dtype: { toString: 1, valueOf: 1 }, shape: [], data: [] },
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; got a tensor of an object.',
    ],
    [
      'is refused, in few words, for a tensor whose shape is none',
      { dtype: 'float32', shape: [{ toString: 1 }, [[]], ...Array<number>(1e5).fill(1)], data: [] },
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; got a tensor of shape [an object, a list, 1, 1, 1, 1, 1, 1].',
    ],
    [
      'is refused for a tensor of another dtype',
      { dtype: 'float64', shape: [1, 1], data: new Float64Array(1) },
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; got a tensor of float64.',
    ],
    [
      'is refused for a tensor whose data is not of its dtype',
      { dtype: 'float32', shape: [1, 1], data: [1] },
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; the tensor\'s data must be a Float32Array.',
    ],
    [
      'is refused for a tensor whose shape and data disagree',
      { dtype: 'float32', shape: [2, 1], data: new Float32Array(1) },
      info('float32', 'batch', 1),
      'input "x" expects float32 [batch, 1]; its shape [2, 1] holds 2 values; got 1.',
    ],
    [
      'is refused for bool data other than 0 and 1',
      { dtype: 'bool', shape: [1, 1], data: Uint8Array.of(2) },
      info('bool', 'batch', 1),
      'input "x" expects bool [batch, 1]; the data of a bool tensor must be 0 or 1.',
    ],
  ]
  it.each(refusals)('%s', (_name, value, expected, message) => {
    expect(() => toTensor(value, expected, true)).toThrow(new Error(message))
  })

  it('is refused before anything is allocated when it is ragged on a large scale', () => {
    const wide = Array<number>(100_000).fill(0)
    const ragged = [wide, ...Array.from({ length: 100_000 }, () => [])]
    expect(() => toTensor(ragged, info('float32', 'batch', 'length'), true)).toThrow(
      /must have 100000 entries/,
    )
  })

  it('does not overflow the stack with 40,000 nested lists', () => {
    const nested: unknown = JSON.parse('['.repeat(40_000) + ']'.repeat(40_000))
    expect(() => toTensor(nested, info('float32', 'batch', 2), true)).toThrow(/got more than 2 nested lists/)
  })
})

it('every value survives the way to a tensor and back', () => {
  const dtypes: [DType, fc.Arbitrary<unknown>][] = [
    ['float32', fc.float({ noNaN: true, noDefaultInfinity: true })],
    ['float64', fc.double({ noNaN: true, noDefaultInfinity: true })],
    ['int8', fc.integer({ min: -128, max: 127 })],
    ['uint8', fc.integer({ min: 0, max: 255 })],
    ['int16', fc.integer({ min: -32768, max: 32767 })],
    ['uint16', fc.integer({ min: 0, max: 65535 })],
    ['int32', fc.integer({ min: -2147483648, max: 2147483647 })],
    ['uint32', fc.integer({ min: 0, max: 4294967295 })],
    ['int64', fc.maxSafeInteger()],
    ['uint64', fc.maxSafeNat()],
    ['bool', fc.boolean()],
    ['string', fc.string({ unit: 'grapheme' })],
  ]
  for (const [dtype, element] of dtypes) {
    const rows = fc.array(fc.array(element, { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(rows, (value) => {
        const tensor: Tensor = toTensor(value, info(dtype, 'batch', 3), true)
        expect(toValue(tensor)).toEqual(value)
      }),
      { numRuns: 50 },
    )
  }
})
