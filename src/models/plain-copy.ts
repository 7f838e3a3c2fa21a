import { types } from 'node:util'

/**
 * A deep copy of plain data (arrays, objects without a class, typed arrays, dates), and about how many bytes it
 * holds. What has a class of its own is not copied: it would lose its methods.
 */
export function plainCopy(value: unknown): { copy: unknown; bytes: number } {
  let bytes = 0
  const copies = new Map<object, unknown>()
  const visit = (node: unknown): unknown => {
    bytes += 8
    if (typeof node === 'string') bytes += 2 * node.length
    if (typeof node !== 'object' || node === null) return node
    const known = copies.get(node)
    if (known !== undefined) return known
    if (types.isTypedArray(node)) {
      bytes += node.byteLength
      return Buffer.isBuffer(node) ? Buffer.from(node) : node.slice()
    }
    if (types.isDate(node)) return new Date(node)
    if (Array.isArray(node)) {
      const copy: unknown[] = []
      copies.set(node, copy)
      for (const entry of node) copy.push(visit(entry))
      return copy
    }
    if (!isPlain(node)) return node
    const copy = Object.create(Object.getPrototypeOf(node) as object | null) as object
    copies.set(node, copy)
    for (const key of Reflect.ownKeys(node))
      define(copy, key, visit((node as Record<PropertyKey, unknown>)[key]))
    return copy
  }
  return { copy: visit(value), bytes }
}

/** An own property, of whatever name: assigning to `__proto__` would change the object's class. */
function define(target: object, key: PropertyKey, value: unknown): void {
  if (key !== '__proto__') (target as Record<PropertyKey, unknown>)[key] = value
  else Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true })
}

/** True for an object of no class, of this realm or another. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
