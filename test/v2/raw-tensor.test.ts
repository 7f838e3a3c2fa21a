import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { typedArrays, type DType, type Tensor } from '../../src/tensor/tensor.js'
import { datatypeNames, datatypes, dtypeOf } from '../../src/v2/datatype.js'
import { fromRaw, RawMismatch, toRaw } from '../../src/v2/raw-tensor.js'

const text = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((each) => !each.includes('\0'))
const numeric = fc.constantFrom(...(Object.keys(typedArrays) as Exclude<DType, 'string'>[]))

test('numbers come back from their bytes, wherever those lie', () => {
  fc.assert(
    fc.property(
      numeric,
      fc.uint8Array({ maxLength: 64 }),
      fc.nat(7),
      fc.boolean(),
      (dtype, given, at, isBuffer) => {
        const size = typedArrays[dtype].BYTES_PER_ELEMENT
        const bytes = given
          .slice(0, given.length - (given.length % size))
          .map((byte) => (dtype === 'bool' ? byte & 1 : byte))
        const around = new Uint8Array(at + bytes.length)
        around.set(bytes, at)
        const part = around.subarray(at)
        const raw = isBuffer ? Buffer.from(part.buffer, part.byteOffset, part.byteLength) : part
        const tensor = fromRaw(dtype, [bytes.length / size], raw)
        expect(tensor.data).toBeInstanceOf(typedArrays[dtype])
        expect(Buffer.from(toRaw(tensor))).toEqual(Buffer.from(bytes))
      },
    ),
  )
})

test('texts come back from their bytes', () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 6 }), (data) => {
      const tensor: Tensor = { dtype: 'string', shape: [data.length], data }
      expect(fromRaw('string', [data.length], toRaw(tensor))).toEqual(tensor)
    }),
  )
})

test('the bytes of numbers are their memory, both ways', () => {
  const bytes = new Uint8Array(8)
  const tensor = fromRaw('float32', [2], bytes)
  expect(toRaw(tensor).buffer).toBe(bytes.buffer)
})

describe('bytes that are no tensor', () => {
  const of = (...bytes: number[]) => Uint8Array.from(bytes)
  test.each([
    ['too few', 'float32', [2], of(0, 0, 0, 0), '2 elements of 4 bytes are 8 bytes; got 4'],
    ['too many', 'int8', [1], of(0, 0), 'are 1 bytes; got 2'],
    ['a bool of 2', 'bool', [2], of(1, 2), 'got 2 at element 1'],
    ['a length cut off', 'string', [1], of(1, 0), 'element 0 of BYTES is cut off'],
    ['a text cut off', 'string', [2], of(0, 0, 0, 0, 3, 0, 0, 0, 65), 'element 1 of BYTES is cut off'],
    ['a length without end', 'string', [1], of(255, 255, 255, 255), 'element 0 of BYTES is cut off'],
    ['too few texts', 'string', [2], of(0, 0, 0, 0), 'there are 1 elements of 2'],
    ['too many texts', 'string', [1], of(0, 0, 0, 0, 0, 0, 0, 0), '1 elements end at byte 4 of 8'],
    ['no UTF-8', 'string', [1], of(1, 0, 0, 0, 0xff), 'element 0 of BYTES is no UTF-8'],
    ['a zero byte', 'string', [1], of(1, 0, 0, 0, 0), 'element 0 of BYTES holds a zero byte'],
    ['a shape without end', 'string', [2 ** 40], of(), `there are 0 elements of ${2 ** 40}`],
  ] as const)('%s: it says what is wrong', (_what, dtype, shape, bytes, message) => {
    const read = () => fromRaw(dtype, shape, bytes)
    expect(read).toThrow(RawMismatch)
    expect(read).toThrow(message)
  })
})

test('every element type has a name, and the other way round', () => {
  for (const [dtype, name] of Object.entries(datatypes)) expect(dtypeOf(name)).toBe(dtype)
  expect(datatypeNames).toHaveLength(13)
  for (const none of ['BF16', 'fp32', 'constructor', '', undefined, 7]) expect(dtypeOf(none)).toBeUndefined()
})
