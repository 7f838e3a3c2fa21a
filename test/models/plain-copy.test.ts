import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scored } from '../../src/models/classification.js'
import { canonicalJson } from '../../src/models/canonical-json.js'
import { plainCopy } from '../../src/models/plain-copy.js'

describe('a plain copy', () => {
  it('equals its original and shares nothing with it', () => {
    fc.assert(
      fc.property(fc.anything({ withTypedArray: true, withDate: true, withNullPrototype: true }), (value) => {
        expect(plainCopy(value).copy).toEqual(value)
      }),
    )
    const original = { list: [1, { deep: true }], array: Float32Array.of(1, 2), at: new Date(3) }
    const { copy, bytes } = plainCopy(original)
    original.list.push(9)
    original.array[0] = 9
    original.at.setTime(9)
    expect(copy).toEqual({ list: [1, { deep: true }], array: Float32Array.of(1, 2), at: new Date(3) })
    expect(bytes).toBeGreaterThan(8)
  })

  it('keeps what has a class, symbols, cycles, and an own field __proto__', () => {
    class Customer {
      constructor(readonly age: number) {}
    }
    const customer = new Customer(3)
    const cycle: Record<string, unknown> = { customer, answer: scored('yes', 0.5) }
    cycle.self = cycle
    const copy = plainCopy(cycle).copy as typeof cycle
    expect(copy).not.toBe(cycle)
    expect(copy.self).toBe(copy)
    expect(copy.customer).toBe(customer)
    expect(copy.answer).toEqual(scored('yes', 0.5))
    const hostile = plainCopy(JSON.parse('{"__proto__": {"admin": true}}')).copy as Record<string, unknown>
    expect(Object.getPrototypeOf(hostile)).toBe(Object.prototype)
    expect(Object.keys(hostile)).toEqual(['__proto__'])
    expect(hostile.admin).toBeUndefined()
  })
})

describe('canonical JSON', () => {
  it('is equal for equal data, whatever the order of keys, and for no other', () => {
    const json = fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value)))
    fc.assert(
      fc.property(json, json, (a, b) => {
        const isEqual = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
        expect(canonicalJson(a) === canonicalJson(b)).toBe(isEqual)
        expect(canonicalJson(a)).toBe(canonicalJson(sorted(a)))
      }),
    )
  })

  it.each([
    [1, '1'],
    [1, 1n],
    [NaN, 'NaN'],
    [0, -0],
    [null, undefined],
    [new Date(1), 'Date(1)'],
    [Float32Array.of(1), Float64Array.of(1)],
    [Float32Array.of(1), [1]],
    [['a,b'], ['a', 'b']],
    [{ a: { b: 1 } }, { a: 1, b: 1 }],
  ])('tells %o from %o', (a, b) => {
    expect(canonicalJson(a)).not.toBe(canonicalJson(b))
  })

  it('refuses what is no plain data', () => {
    const cycle: unknown[] = []
    cycle.push(cycle)
    for (const value of [cycle, new Map(), () => 1, Symbol('s'), new URL('a:b')])
      expect(() => canonicalJson(value)).toThrow(TypeError)
  })
})

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => [key, sorted(entry)]),
  )
}
