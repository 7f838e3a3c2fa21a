import { types } from 'node:util'
import { isPlain } from './plain-copy.js'

/**
 * Text that is equal for equal plain data, whatever the order of an object's keys, and for no other. Beyond JSON it
 * knows bigints, NaN, infinities, -0, dates and typed arrays.
 * @throws TypeError for what is no plain data, and for what contains itself
 */
export function canonicalJson(value: unknown): string {
  return write(value, new Set())
}

function write(value: unknown, parents: Set<object>): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value)
    case 'bigint':
      return `${value}n`
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'object':
      return value === null ? 'null' : writeObject(value, parents)
    default:
      throw new TypeError(`a ${typeof value} is no plain data`)
  }
}

function writeObject(value: object, parents: Set<object>): string {
  if (types.isTypedArray(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    return `${value[Symbol.toStringTag]}(${bytes.toString('base64')})`
  }
  if (types.isDate(value)) return `Date(${value.getTime()})`
  if (parents.has(value)) throw new TypeError('an object that contains itself is no plain data')
  parents.add(value)
  const text = Array.isArray(value) ? writeArray(value, parents) : writeFields(value, parents)
  parents.delete(value)
  return text
}

function writeArray(values: readonly unknown[], parents: Set<object>): string {
  return `[${values.map((value) => write(value, parents)).join(',')}]`
}

function writeFields(value: object, parents: Set<object>): string {
  if (!isPlain(value))
    throw new TypeError(`an object of the class ${value.constructor.name} is no plain data`)
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${write(field, parents)}`).join(',')}}`
}
