import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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

test('small chunks stay in their order, among large ones', () => {
  const lengths = [...Array<number>(700).fill(1), 300_000, ...Array<number>(300).fill(2), 0, 5000, 1]
  const whole = Buffer.from(Array.from({ length: lengths.reduce((a, b) => a + b) }, (_, i) => i % 251))
  const chunks = new Chunks(whole.length)
  let at = 0
  for (const length of lengths) chunks.add(whole.subarray(at, (at += length)))
  expect(chunks.size).toBe(whole.length)
  expect(Buffer.from(chunks.take(350))).toEqual(whole.subarray(0, 350))
  expect(Buffer.from(chunks.joined()).equals(whole.subarray(350))).toBe(true)
})

test('a body that comes byte by byte takes about as much memory as one that comes at once', () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const bytes = 1_000_000
  collectGarbage()
  const before = process.memoryUsage()
  const chunks = new Chunks(bytes)
  for (let i = 0; i < bytes; i++) chunks.add(Uint8Array.of(1))
  collectGarbage()
  const after = process.memoryUsage()
  const taken = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
  expect(taken).toBeLessThan(10 * bytes)
  expect(chunks.joined()).toEqual(new Uint8Array(bytes).fill(1))
})

test('what came is let go once there is too much', () => {
  const chunks = new Chunks(3)
  expect(chunks.add(Uint8Array.of(1, 2))).toBe(true)
  expect(chunks.add(Uint8Array.of(3, 4))).toBe(false)
})
