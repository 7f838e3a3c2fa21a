import { isPlainObject } from '../options.js'
import type { Outcome } from './classification.js'

export interface CompareOptions {
  /**
   * How far apart numbers may be that count as equal: absolutely, and where the compared number is above 1 as a part of
   * it. Default: 0.001.
   */
  readonly tolerance?: number
}

/** How two versions' answers to one input compare. */
export interface Agreement {
  /** Whether their predictions are equal: classes and texts exactly, numbers within the tolerance. */
  readonly agree: boolean
  /**
   * The largest difference between two numbers: of the scores, where both have them, else of the predictions. Undefined
   * where there are none to compare.
   */
  readonly distance: number | undefined
}

/** Deeper predictions than any model's would be cyclic. */
const maxDepth = 64

/** @param expected the answer that the other is held to */
export function compareOutcomes(
  expected: Outcome,
  actual: Outcome,
  { tolerance = 0.001 }: CompareOptions = {},
): Agreement {
  const predictions = differenceOf(expected.prediction, actual.prediction, tolerance)
  const scores = differenceOf(expected.scores, actual.scores, tolerance)
  return { agree: predictions.isEqual, distance: scores.distance ?? predictions.distance }
}

interface Difference {
  readonly isEqual: boolean
  readonly distance: number | undefined
}

function differenceOf(expected: unknown, actual: unknown, tolerance: number): Difference {
  let isEqual = true
  let distance: number | undefined
  const visit = (a: unknown, b: unknown, depth: number): void => {
    if (isNumber(a) && isNumber(b)) {
      if (Object.is(a, b)) return void (distance ??= 0)
      const apart = Math.abs(Number(a) - Number(b))
      if (!(apart <= tolerance * Math.max(1, Math.abs(Number(a))))) isEqual = false
      if (Number.isFinite(apart)) distance = Math.max(distance ?? 0, apart)
      return
    }
    if (depth > maxDepth) isEqual = false
    else if (isList(a) && isList(b)) {
      if (a.length !== b.length) isEqual = false
      for (let i = 0; i < Math.min(a.length, b.length); i++) visit(a[i], b[i], depth + 1)
    } else if (isPlainObject(a) && isPlainObject(b)) {
      if (Object.keys(a).length !== Object.keys(b).length) isEqual = false
      for (const key of Object.keys(a)) {
        if (Object.hasOwn(b, key)) visit(a[key], b[key], depth + 1)
        else isEqual = false
      }
    } else if (!Object.is(a, b)) isEqual = false
  }
  visit(expected, actual, 0)
  return { isEqual, distance }
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint'
}

/** A list, or a typed array. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}
