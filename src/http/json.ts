import { randomUUID } from 'node:crypto'
import { messageOf, ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import { markLongIntegers } from '../v2/long-integers.js'
import { isSurelyWithin, measureJson, type JsonShape } from './json-scan.js'
import { copyValue, measureValue } from './json-value.js'

/** The most that a JSON body may hold. */
export interface JsonLimits {
  readonly maxBodyDepth: number
  readonly maxBodyElements: number
}

/** A JSON object of a request's body. */
export interface JsonObject {
  /** As JSON.parse gives it, or the host's parser: integers beyond 2^53 are rounded. */
  readonly fields: Readonly<Record<string, unknown>>
  /**
   * The object with those integers as bigints; undefined where there are none, or where the text is gone. It is looked
   * for when this is asked for.
   */
  readonly exact?: (() => Readonly<Record<string, unknown>>) | undefined
}

/**
 * The JSON object that a body's bytes are. Its objects have no prototype where one of them might have a key
 * `__proto__`.
 * @throws ServingError INVALID_REQUEST
 */
export function parseJsonObject(bytes: Uint8Array, limits: JsonLimits): JsonObject {
  if (bytes.length === 0) throw invalid('the body is empty; send a JSON object.')
  const text = decode(bytes)
  if (!isSurelyWithin(text, shapeOf(limits))) check(measureJson(text, shapeOf(limits)), limits)
  const fields = asObject(parse(text))
  return {
    fields,
    get exact() {
      return mayHaveLongIntegers.test(text) ? () => parseExactly(text) : undefined
    },
  }
}

/**
 * The object that a host's parser made of a body, held to the same limits.
 * @throws ServingError INVALID_REQUEST
 */
export function checkJsonObject(value: unknown, limits: JsonLimits): JsonObject {
  const { hasProtoKey, ...shape } = measureValue(value, shapeOf(limits))
  check(shape, limits)
  return { fields: asObject(hasProtoKey ? copyValue(value) : value) }
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch (error) {
    throw invalid('the body is not valid UTF-8.', error)
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function parse(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const hint = hasNoNumber.test(text) ? '; JSON has no NaN and no Infinity' : ''
    throw invalid(`the body is not JSON: ${messageOf(error)}${hint}`, error)
  }
  return text.includes('__proto__') || mayEscapeProtoKey(text) ? copyValue(value) : value
}

/** What Python's json writes of floats that JSON has no number for. */
const hasNoNumber = /[[,:\s-](NaN|Infinity)[\s,\]}]/

/** Whether a text has an escape of one of the letters of `__proto__`. */
function mayEscapeProtoKey(text: string): boolean {
  return text.includes('\\u00') && /\\u00[567]/.test(text)
}

const mayHaveLongIntegers = /\d{16}/

/** Nobody can write a string that passes for one of our integers: the marker never leaves the process. */
const marker = `mlserving integer ${randomUUID()} `

/** Reads a text that is known to be a JSON object. */
function parseExactly(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(markLongIntegers(text, marker))
  return asObject(copyValue(value, integerOf))
}

function integerOf(value: unknown): unknown {
  if (typeof value !== 'string' || !value.startsWith(marker)) return value
  const digits = value.slice(marker.length)
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits)
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (isPlainObject(value)) return value
  throw invalid(`the body must be a JSON object; got ${show(value)}.`)
}

function shapeOf({ maxBodyDepth, maxBodyElements }: JsonLimits): JsonShape {
  return { depth: maxBodyDepth, elements: maxBodyElements }
}

function check({ depth, elements }: JsonShape, { maxBodyDepth, maxBodyElements }: JsonLimits): void {
  if (depth > maxBodyDepth)
    throw invalid(`the body is nested more than ${maxBodyDepth} levels deep (maxBodyDepth).`)
  if (elements > maxBodyElements)
    throw invalid(`the body has more than ${maxBodyElements} elements (maxBodyElements).`)
}

function invalid(message: string, cause?: unknown): ServingError {
  return new ServingError('INVALID_REQUEST', message, { cause })
}
