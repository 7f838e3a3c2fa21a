import { describe, type TensorInfo } from './tensor.js'

/** A value does not fit an input. The message says what was expected, what came, and what to send. */
export class ValueMismatch extends Error {}

export function mismatch(info: TensorInfo, rest: string): ValueMismatch {
  return new ValueMismatch(`input "${info.name}" expects ${describe(info)}; ${rest}`)
}

/** A short form of what came in place of an element. */
export function showLeaf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 37)}...` : value)
  if (typeof value === 'bigint') return `${value}`
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return 'a list'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
