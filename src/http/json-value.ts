import type { JsonShape } from './json-scan.js'

// Neither function recurses: a value that somebody else has parsed may be nested more deeply than the stack is.

/**
 * Counts a value's nesting and the entries of its lists and plain objects, and looks for keys named `__proto__`;
 * stops at the first count that passes its limit.
 */
export function measureValue(
  root: unknown,
  limits: JsonShape,
): JsonShape & { readonly hasProtoKey: boolean } {
  let depth = 0
  let elements = 0
  let hasProtoKey = false
  const pending: { readonly container: Container; readonly level: number }[] = []
  const visit = (value: unknown, level: number): void => {
    if (isContainer(value)) pending.push({ container: value, level })
  }
  visit(root, 1)
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { container, level } = next
    const values = Array.isArray(container) ? container : Object.values(container)
    if (level > depth) depth = level
    elements += values.length
    if (depth > limits.depth || elements > limits.elements) break
    if (!Array.isArray(container) && Object.hasOwn(container, '__proto__')) hasProtoKey = true
    for (const value of values) visit(value, level + 1)
  }
  return { depth, elements, hasProtoKey }
}

/** A copy whose objects have no prototype, with every other value as `leaf` gives it. */
export function copyValue(root: unknown, leaf: (value: unknown) => unknown = (value) => value): unknown {
  const pending: { readonly from: Container; readonly to: Container }[] = []
  const copy = (value: unknown): unknown => {
    if (!isContainer(value)) return leaf(value)
    const to: Container = Array.isArray(value) ? [] : withoutPrototype({})
    pending.push({ from: value, to })
    return to
  }
  const result = copy(root)
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { from, to } = next
    if (Array.isArray(from)) {
      for (const value of from) (to as unknown[]).push(copy(value))
    } else {
      for (const [key, value] of Object.entries(from)) (to as Record<string, unknown>)[key] = copy(value)
    }
  }
  return result
}

/** A shallow copy in which no name is inherited, and `__proto__` is a name like any other. */
export function withoutPrototype(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.assign(Object.create(null) as Record<string, unknown>, object)
}

type Container = unknown[] | Record<string, unknown>

/** Lists and plain objects; anything with a class of its own is a value whose inside is not ours to walk. */
function isContainer(value: unknown): value is Container {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return true
  const prototype = Object.getPrototypeOf(value) as object | null
  // Of any realm: a test runner's objects are plain too.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
