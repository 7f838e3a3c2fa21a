import type { Outcome } from '../models/classification.js'
import { isPlainObject } from '../options.js'

/** How near two answers are. */
export interface Agreement {
  /** Whether they are equal, numbers within the tolerance. */
  readonly isEqual: boolean
  /** Absolute distances of the numbers at the same places. */
  readonly distances: readonly number[]
}

/**
 * Compares what was expected with what came: lists by place, whether they are arrays or typed arrays, objects by name,
 * numbers within `tolerance` times the expected one's size or 1, whichever is more.
 */
export function agreementOf(expected: unknown, got: unknown, tolerance: number): Agreement {
  const distances: number[] = []
  const isEqual = compare(expected, got)
  return { isEqual, distances }

  function compare(a: unknown, b: unknown): boolean {
    if (isNumber(a) && isNumber(b)) return compareNumbers(a, b)
    if (isList(a) && isList(b)) {
      let same = a.length === b.length
      for (let i = 0; i < Math.min(a.length, b.length); i++) same = compare(a[i], b[i]) && same
      return same
    }
    if (isPlainObject(a) && isPlainObject(b) && !isList(a) && !isList(b)) {
      const names = new Set([...Object.keys(a), ...Object.keys(b)])
      let same = true
      for (const name of names) {
        const isInBoth = Object.hasOwn(a, name) && Object.hasOwn(b, name)
        same = isInBoth && compare(a[name], b[name]) && same
      }
      return same
    }
    return Object.is(a, b)
  }

  function compareNumbers(a: number | bigint, b: number | bigint): boolean {
    // The operators compare a bigint with a number exactly.
    if (Object.is(a, b) || (a <= b && a >= b)) {
      distances.push(0)
      return true
    }
    const distance = Math.abs(Number(a) - Number(b))
    distances.push(Number.isNaN(distance) ? Infinity : distance)
    // Integers that no number holds are equal or not.
    if (typeof a === 'bigint' || typeof b === 'bigint') return false
    return distance <= tolerance * Math.max(1, Math.abs(a))
  }
}

/** What of an outcome is compared: the parts that are expected, or the prediction alone. */
export function asExpected(expected: unknown, outcome: Outcome): { expected: unknown; got: unknown } {
  if (!isPlainObject(expected) || !Object.hasOwn(expected, 'prediction'))
    return { expected, got: outcome.prediction }
  const given = outcome as unknown as Readonly<Record<string, unknown>>
  const names = Object.keys(expected).filter((name) => given[name] !== undefined)
  return { expected, got: Object.fromEntries(names.map((name) => [name, given[name]])) }
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint'
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}
