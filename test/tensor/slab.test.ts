import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ownBuffers, slabCopy } from '../../src/tensor/slab.js'
import type { Feeds } from '../../src/tensor/tensor.js'

describe('a slab copy', () => {
  it('equals its original, shares no element with it or with another copy, whatever the sizes', () => {
    const lengths = fc.array(fc.nat({ max: 2000 }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(lengths, (all) => {
        const originals = all.map((length, i): Feeds => ({
          x: { dtype: 'float32', shape: [1, length], data: new Float32Array(length).fill(i) },
          n: { dtype: 'int64', shape: [1], data: BigInt64Array.of(BigInt(i)) },
          b: { dtype: 'uint8', shape: [1, 3], data: Buffer.from([i, 1, 2]) },
          s: { dtype: 'string', shape: [1], data: [`${i}`] },
        }))
        const copies = originals.map(slabCopy)
        for (const { x, b } of originals) {
          ;(x?.data as Float32Array).fill(-1)
          ;(b?.data as Uint8Array).fill(99)
        }
        copies.forEach((copy, i) => {
          expect(copy.x?.data).toEqual(new Float32Array(all[i] ?? 0).fill(i))
          expect(copy.n?.data).toEqual(BigInt64Array.of(BigInt(i)))
          expect(copy.b?.data).toEqual(Uint8Array.of(i, 1, 2))
          expect(copy.s?.data).toEqual([`${i}`])
        })
      }),
      { numRuns: 50 },
    )
  })

  it('has its buffer to itself once it is asked to, and only then is copied again', () => {
    const copy = slabCopy({ x: { dtype: 'float32', shape: [1, 3], data: Float32Array.of(1, 2, 3) } })
    const own = ownBuffers(copy)
    expect(own).toEqual(copy)
    expect((own.x?.data as Float32Array).buffer.byteLength).toBe(12)
    expect(ownBuffers(own)).toBe(own)
  })
})
