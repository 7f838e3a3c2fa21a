import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkJsonObject, parseJsonObject } from '../../src/http/json.js'
import { isSurelyWithin, measureJson } from '../../src/http/json-scan.js'
import { measureValue } from '../../src/http/json-value.js'

const unlimited = { maxBodyDepth: Infinity, maxBodyElements: Infinity }
const everything = { depth: Infinity, elements: Infinity }
const parse = (text: string, limits = unlimited) => parseJsonObject(Buffer.from(text), limits)
const parseExactly = (text: string) => {
  const { fields, exact } = parse(text)
  return exact === undefined ? fields : exact()
}

/** Counts by recursion. */
function naiveShape(value: unknown): { depth: number; elements: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, elements: 0 }
  const inner = Object.values(value).map(naiveShape)
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    elements: inner.length + inner.reduce((sum, { elements }) => sum + elements, 0),
  }
}

/** Words that a careless scanner trips over. */
const trap = fc.constantFrom(
  '[',
  '{"',
  ',',
  '\\',
  '"',
  '\\"',
  '\\\\"[',
  '__proto__',
  '12345678901234567890',
  ': 1234567890123456789',
  '\u2028',
)
const key = fc.oneof(fc.string({ maxLength: 5 }), trap)
const { value: jsonValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(
      fc.constantFrom(null, true, false),
      // An integer beyond 2^53 is another matter.
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .filter((number) => !Number.isInteger(number) || Number.isSafeInteger(number)),
      fc.maxSafeInteger(),
      fc.string({ unit: 'grapheme' }),
      trap,
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}))
const object = fc.dictionary(key, jsonValue, { maxKeys: 5, noNullPrototype: true })
/** The text of an object, tight or spread over lines. */
const text = fc
  .tuple(object, fc.constantFrom(undefined, 1, '\t'))
  .map(([value, space]) => JSON.stringify(value, undefined, space))

const bigInteger = fc.bigInt({ min: -(2n ** 66n), max: 2n ** 66n })

describe('the scan', () => {
  test('counts what a parser counts, whatever stands in the strings', () => {
    fc.assert(
      fc.property(text, (text) => {
        expect(measureJson(text, everything)).toEqual(naiveShape(JSON.parse(text)))
      }),
    )
  })

  test('agrees with the count of what a host has parsed', () => {
    fc.assert(
      fc.property(text, (text) => {
        const { hasProtoKey: _, ...shape } = measureValue(JSON.parse(text), everything)
        expect(shape).toEqual(measureJson(text, everything))
      }),
    )
  })

  test('is only left out where the limits can not be passed', () => {
    fc.assert(
      fc.property(text, fc.nat(12), fc.nat(40), (text, depth, elements) => {
        if (!isSurelyWithin(text, { depth, elements })) return
        const shape = naiveShape(JSON.parse(text))
        expect(shape.depth).toBeLessThanOrEqual(depth)
        expect(shape.elements).toBeLessThanOrEqual(elements)
      }),
      { numRuns: 2000 },
    )
  })

  test('is left out by the nesting alone where brackets are few for the length', () => {
    fc.assert(
      fc.property(text, fc.nat(12), (text, depth) => {
        const long = `{"long": ${text}, "text": "${'\\"[]'.repeat(5)}${'x'.repeat(64 * (text.length + 60))}"}`
        const isWithin = isSurelyWithin(long, { depth, elements: Infinity })
        expect(isWithin).toBe(naiveShape(JSON.parse(long)).depth <= depth)
      }),
      { numRuns: 1000 },
    )
  })

  test('ends with any text, JSON or not', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(trap).map((parts) => parts.join('')),
        ),
        (text) => {
          expect(measureJson(text, everything).elements).toBeLessThanOrEqual(text.length)
        },
      ),
    )
  })
})

describe('a JSON object', () => {
  test('is what JSON.parse gives', () => {
    fc.assert(
      fc.property(text, (text) => {
        expect(JSON.stringify(parse(text).fields)).toBe(JSON.stringify(JSON.parse(text)))
      }),
    )
  })

  test('is refused, with no second opinion, where JSON.parse refuses it', () => {
    fc.assert(
      fc.property(text, fc.nat(), fc.nat(), (text, at, length) => {
        const cut = text.slice(0, at % text.length) + text.slice((at % text.length) + (length % 4))
        const broken = Buffer.from(cut).toString() // no half of a surrogate pair
        let valid: unknown
        try {
          valid = JSON.parse(broken)
        } catch {
          expect(() => parse(broken)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
          return
        }
        if (typeof valid === 'object' && valid !== null && !Array.isArray(valid))
          expect(JSON.stringify(parse(broken).fields)).toBe(JSON.stringify(valid))
      }),
    )
  })

  test.each([
    ['__proto__', '{"a":[{"__proto__":{"polluted":1}}]}'],
    ['an escaped __proto__', String.raw`{"a":[{"\u005f_proto_\u005F":{"polluted":1}}]}`],
    [
      'a __proto__ with escaped letters',
      String.raw`{"a":[{"__\u0070\u0072\u006f\u0074\u006F__":{"polluted":1}}]}`,
    ],
  ])('with a key %s has no prototype anywhere', (_, text) => {
    const { a } = parse(text).fields as { a: [Record<string, unknown>] }
    expect(Object.getPrototypeOf(a[0])).toBeNull()
    expect(Object.keys(a[0])).toEqual(['__proto__'])
    expect(a[0].polluted).toBeUndefined()
    expect(Object.getPrototypeOf(parse(text).fields)).toBeNull()
  })
})

describe('limits', () => {
  const limits = { maxBodyDepth: 3, maxBodyElements: 5 }

  test.each([
    ['{"a":[[1]]}', '{"a":[[[1]]]}', 'the body is nested more than 3 levels deep (maxBodyDepth).'],
    ['{"a":[1,2,3,4]}', '{"a":[1,2,3,4,5]}', 'the body has more than 5 elements (maxBodyElements).'],
    ['{"a":[[],{},[ ],{ \n}]}', '{"a":[[],{},[ ],{ \n},[]]}', 'the body has more than 5 elements'],
    ['{"a":"[[[[[[,,,,,,{{{{"}', '{"a":[[[["[]"]]]]}', 'more than 3 levels'],
    [String.raw`{"a":"\"[[[[[\\","b":1}`, String.raw`{"a":"\\","b":[[[[]]]]}`, 'more than 3 levels'],
  ])('%j is within them, %j is not', (within, beyond, message) => {
    expect(parse(within, limits).fields).toEqual(JSON.parse(within))
    expect(checkJsonObject(JSON.parse(within), limits).fields).toEqual(JSON.parse(within))
    for (const read of [() => parse(beyond, limits), () => checkJsonObject(JSON.parse(beyond), limits)]) {
      expect(read).toThrow(
        expect.objectContaining({ code: 'INVALID_REQUEST', message: expect.stringContaining(message) }),
      )
    }
  })

  test('are found before the text is parsed: what follows need not even be JSON', () => {
    expect(() => parse('{"a":[[[ nonsense', limits)).toThrow(/more than 3 levels/)
  })
})

describe('integers beyond 2^53', () => {
  test('are exact bigints, and everything else is as JSON.parse gives it', () => {
    fc.assert(
      fc.property(fc.array(bigInteger), object, (integers, rest) => {
        const text = `{"rest":${JSON.stringify(rest)},"integers":[${integers.join(' ,')}]}`
        const exact = parseExactly(text)
        // Rather than `rest`: from Node 24 on JSON.parse takes the key `"` for a key `\` that it met before.
        const { rest: parsed } = JSON.parse(text) as { rest: unknown }
        expect(JSON.stringify(exact.rest)).toBe(JSON.stringify(parsed))
        const expected = integers.map((integer) => {
          const number = Number(integer)
          return Number.isSafeInteger(number) ? number : integer
        })
        expect(exact.integers).toEqual(expected)
      }),
    )
  })

  test.each([
    ['9007199254740993', 9007199254740993n],
    ['-9223372036854775808', -9223372036854775808n],
    ['18446744073709551615', 18446744073709551615n],
    ['123456789012345678901', 123456789012345680000],
    ['9007199254740991', 9007199254740991],
    ['1000000000000000', 1000000000000000],
    ['0.12345678901234567890', Number('0.12345678901234567890')],
    ['12345678901234567890.5', 12345678901234567000],
    ['12345678901234567890e0', 12345678901234567000],
    ['1e16', 1e16],
    ['1E-1234567890123456789', 0],
    ['"12345678901234567890"', '12345678901234567890'],
    ['"\\"12345678901234567890"', '"12345678901234567890'],
  ])('%s is read', (literal, expected) => {
    expect(parseExactly(`{"x":[ ${literal}]}`).x).toEqual([expected])
    expect(parseExactly(`{"x":${literal}\n}`).x).toEqual(expected)
    expect(parseExactly(`{"12345678901234567890":${literal},"y":1234567890123456789}`)).toEqual({
      '12345678901234567890': expected,
      y: 1234567890123456789n,
    })
  })

  test('are only looked at where there are as many digits', () => {
    expect(parse('{"x":123456789012345}').exact).toBeUndefined()
    expect(parse('{"x":1234567890123456}').exact).toBeDefined()
  })
})

describe('what a host has parsed', () => {
  test('is the very object, unless a key is named __proto__', () => {
    const value = { a: [{ b: 1 }], date: new Date(0), bytes: new Uint8Array(1e6) }
    expect(checkJsonObject(value, { maxBodyDepth: 3, maxBodyElements: 5 }).fields).toBe(value)
    const hazard = JSON.parse('{"a":{"__proto__":{"x":1}}}') as object
    const { fields } = checkJsonObject(hazard, unlimited)
    expect(Object.getPrototypeOf(fields.a)).toBeNull()
    expect(JSON.stringify(fields)).toBe(JSON.stringify(hazard))
  })

  test('may be nested more deeply than the stack is, or in a circle', () => {
    let deep: unknown = 1
    for (let i = 0; i < 1_000_000; i++) deep = [deep]
    const circle: Record<string, unknown> = {}
    circle.self = circle
    for (const value of [{ deep }, circle]) {
      expect(() => checkJsonObject(value, { maxBodyDepth: 64, maxBodyElements: 1000 })).toThrow(/64 levels/)
    }
  })
})
