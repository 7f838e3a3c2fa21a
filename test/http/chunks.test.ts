import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Chunks } from '../../src/http/chunks.js'

test('parts are taken in their order, however the chunks came', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 })), fc.array(fc.nat(12)), (parts, lengths) => {
      const whole = Buffer.concat(parts)
      const chunks = new Chunks(whole.length)
      for (const part of parts) expect(chunks.add(part)).toBe(true)
      let at = 0
      for (const length of lengths) {
        const fits = Math.min(length, chunks.size)
        const taken = chunks.take(fits)
        expect(Buffer.from(taken)).toEqual(whole.subarray(at, at + fits))
        expect(taken.buffer.byteLength).toBe(fits)
        at += fits
      }
      expect(chunks.size).toBe(whole.length - at)
      expect(Buffer.from(chunks.joined())).toEqual(whole.subarray(at))
    }),
  )
})

test('what came is let go once there is too much', () => {
  const chunks = new Chunks(3)
  expect(chunks.add(Uint8Array.of(1, 2))).toBe(true)
  expect(chunks.add(Uint8Array.of(3, 4))).toBe(false)
})
