import { ServingError, type ErrorCode } from './errors.js'

export type JsonSchema = Readonly<Record<string, unknown>>

/** One option: how to check it, and what a message says it should be. */
export interface Field<T> {
  readonly expected: string
  /** The same as JSON Schema, as far as that can say it; undefined for what no JSON file may hold. */
  readonly schema?: JsonSchema | undefined
  readonly accepts: (value: unknown) => value is T
  /** Checks what lies inside; throws. Only called with values that `accepts` took. */
  readonly inside?: (value: T, path: string, code: ErrorCode) => void
}

/** The fields of an options object, by name. A key that is not here is refused. */
export type Fields<T> = { readonly [K in keyof T]-?: Field<Exclude<T[K], undefined>> }

/**
 * Checks an options object against its fields.
 *
 * @param where what the object is, for messages: `createServing()`, `models/sentiment/model.json`
 * @throws ServingError with `code`, naming the path, what was expected and what came; an unknown key is
 *   answered with the nearest known one
 */
export function checkFields<T extends object>(
  value: unknown,
  fields: Fields<T>,
  where: string,
  code: ErrorCode,
  path = '',
): asserts value is T {
  if (!isPlainObject(value)) {
    throw new ServingError(code, `${where}: ${path || 'the value'} must be an object; got ${show(value)}.`)
  }
  const known = fields as Readonly<Record<string, Field<unknown>>>
  const at = (key: string) => (path ? `${path}.${key}` : key)
  for (const key of Object.keys(value)) {
    const entry = value[key]
    const field = Object.hasOwn(known, key) ? known[key] : undefined
    if (field === undefined)
      throw new ServingError(code, `${where}: ${unknownKey(at(key), key, Object.keys(fields))}`)
    if (entry === undefined) continue
    if (!field.accepts(entry)) {
      throw new ServingError(code, `${where}: ${at(key)} must be ${field.expected}; got ${show(entry)}.`)
    }
    field.inside?.(entry, `${where}: ${at(key)}`, code)
  }
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export const text: Field<string> = {
  expected: 'a non-empty string',
  schema: { type: 'string', minLength: 1 },
  accepts: (value): value is string => typeof value === 'string' && value !== '',
}

export const flag: Field<boolean> = {
  expected: 'true or false',
  schema: { type: 'boolean' },
  accepts: (value): value is boolean => typeof value === 'boolean',
}

/** A word that can only be given, not taken back. */
export const yes: Field<true> = {
  expected: 'true',
  schema: { const: true },
  accepts: (value): value is true => value === true,
}

export const texts: Field<readonly string[]> = {
  expected: 'a list of strings, each once, at least one',
  schema: { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true },
  accepts: (value): value is readonly string[] =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((entry) => typeof entry === 'string') &&
    new Set(value).size === value.length,
}

export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Field<number> {
  return {
    expected:
      max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`,
    schema: { type: 'integer', minimum: min, maximum: max },
    accepts: (value): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max,
  }
}

export function oneOf<const V extends readonly string[]>(...values: V): Field<V[number]> {
  return {
    expected: `one of ${values.map((value) => `"${value}"`).join(', ')}`,
    schema: { enum: values },
    accepts: (value): value is V[number] => typeof value === 'string' && values.includes(value),
  }
}

/**
 * A value of another kind; `expected` says of which form.
 * @param schema where JSON can give it, rather than code alone
 */
export function provided<T>(
  expected: string,
  accepts: (value: unknown) => boolean,
  schema?: JsonSchema,
): Field<T> {
  return { expected, schema, accepts: (value): value is T => accepts(value) }
}

/** An object of values of one kind, by name. */
export function record<T>(entry: Field<T>): Field<Readonly<Record<string, T>>> {
  return {
    expected: `an object of which each value is ${entry.expected}`,
    get schema() {
      return { type: 'object', additionalProperties: entry.schema }
    },
    accepts: (value): value is Readonly<Record<string, T>> =>
      isPlainObject(value) && Object.values(value).every((each) => entry.accepts(each)),
    inside: (value, path, code) => {
      for (const [name, each] of Object.entries(value)) entry.inside?.(each, `${path}.${name}`, code)
    },
  }
}

export function func<T>(): Field<T> {
  return provided('a function', (value) => typeof value === 'function')
}

/**
 * An options object inside another.
 * @param required the options that must be there
 */
export function fields<T extends object>(
  nested: Fields<T>,
  required: readonly (keyof T & string)[] = [],
): Field<T> {
  return {
    expected: 'an object',
    get schema() {
      return schemaOf(nested, required)
    },
    accepts: (value): value is T => isPlainObject(value),
    inside: (value, path, code) => {
      checkFields(value, nested, path, code)
      const missing = required.find((name) => value[name] === undefined)
      if (missing === undefined) return
      throw new ServingError(code, `${path}.${missing} is missing; it must be ${nested[missing].expected}.`)
    },
  }
}

/** `true`, or a value of another kind. */
export function trueOr<T>(other: Field<T>): Field<true | T> {
  return {
    expected: `true or ${other.expected}`,
    get schema() {
      return { anyOf: [{ const: true }, other.schema] }
    },
    accepts: (value): value is true | T => value === true || other.accepts(value),
    inside: (value, path, code) => {
      if (value !== true) other.inside?.(value, path, code)
    },
  }
}

/** `true`, `false`, or a value of another kind. */
export function flagOr<T>(other: Field<T>): Field<boolean | T> {
  return {
    expected: `true, false or ${other.expected}`,
    get schema() {
      return { anyOf: [flag.schema, other.schema] }
    },
    accepts: (value): value is boolean | T => typeof value === 'boolean' || other.accepts(value),
    inside: (value, path, code) => {
      if (typeof value !== 'boolean') other.inside?.(value, path, code)
    },
  }
}

/** The JSON Schema of an options object: of those options that JSON can give. */
export function schemaOf<T extends object>(all: Fields<T>, required: readonly string[] = []): JsonSchema {
  const stated = Object.entries(all as Readonly<Record<string, Field<unknown>>>).filter(
    ([, { schema }]) => schema !== undefined,
  )
  return {
    type: 'object',
    properties: Object.fromEntries(stated.map(([name, { schema }]) => [name, schema])),
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  }
}

function unknownKey(at: string, key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  const hint = near === undefined ? `Known are ${known.join(', ')}.` : `Did you mean "${near}"?`
  return `unknown option "${at}". ${hint}`
}

/** The candidate closest to `word`, where one is close enough to be what was meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  // Any two words of a letter or two are near each other.
  let bestDistance = word.length < 3 ? 1 : Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** Levenshtein's distance, by one row of the Wagner-Fischer table. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** A short form of any value for a message: never long, never throws. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return `an object`
  return String(value)
}
