import { expect, it } from 'vitest'
import { fromFloat16, toFloat16 } from '../../src/tensor/float16.js'

it('every finite bit pattern survives the way to a number and back', () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    if ((bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0) {
      expect(fromFloat16(bits)).toBeNaN()
    } else if (toFloat16(fromFloat16(bits)) !== bits) {
      expect.fail(`0x${bits.toString(16)} came back as 0x${toFloat16(fromFloat16(bits)).toString(16)}`)
    }
  }
})

it('a number between two patterns becomes the nearer, and halfway the even one', () => {
  expect(toFloat16(1 + 2 ** -11)).toBe(0x3c00)
  expect(toFloat16(1 + 3 * 2 ** -11)).toBe(0x3c02)
  expect(toFloat16(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01)
  expect(toFloat16(2 ** -25)).toBe(0)
  expect(toFloat16(2 ** -25 + 2 ** -40)).toBe(1)
})

it('numbers beyond the largest are infinities', () => {
  expect(toFloat16(65504)).toBe(0x7bff)
  expect(toFloat16(65519.99)).toBe(0x7bff)
  expect(toFloat16(65520)).toBe(0x7c00)
  expect(toFloat16(-1e9)).toBe(0xfc00)
})
