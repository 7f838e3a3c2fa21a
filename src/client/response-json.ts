import type { Parameters } from './messages.js'

/** What a server sent is not what the protocol says; the message says how. */
export class Unexpected extends Error {}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isShape(value: unknown): value is number[] {
  const isList = Array.isArray(value) && value.length <= mostDimensions
  return isList && value.every((size) => Number.isInteger(size) && size >= 0)
}

/** Further dimensions than any runtime has operators for; lists nested deeper are not walked. */
const mostDimensions = 64

export function isParameters(value: unknown): value is Parameters {
  return isObject(value)
}

/** A text that must be there. @throws Unexpected */
export function textOf(object: Readonly<Record<string, unknown>>, key: string): string {
  const value = object[key]
  if (typeof value === 'string') return value
  throw new Unexpected(`"${key}" must be a text, and is ${value === undefined ? 'missing' : typeof value}`)
}

/** A list that may be left out. @throws Unexpected */
export function listOf(object: Readonly<Record<string, unknown>>, key: string): readonly unknown[] {
  const value = object[key] ?? []
  if (Array.isArray(value)) return value
  throw new Unexpected(`"${key}" must be a list, and is ${typeof value}`)
}

/** A member where a value is of a type; none where it is not. */
export function optional<K extends string>(
  key: K,
  value: unknown,
  type: 'string',
): { readonly [P in K]?: string } {
  return typeof value === type ? ({ [key]: value } as { readonly [P in K]?: string }) : {}
}
