import { ServingError } from '../errors.js'
import { showLeaf } from '../tensor/mismatch.js'

/** The fields of an object of JSON. */
export type JsonFields = Readonly<Record<string, unknown>>

/** The JSON of a message. */
export interface JsonMessage {
  /** Integers beyond 2^53 are rounded. */
  readonly fields: JsonFields
  /** The same with those integers as bigints; undefined where there are none, or where the text is gone. */
  readonly exact?: (() => JsonFields) | undefined
}

export function invalidRequest(message: string): ServingError {
  return new ServingError('INVALID_REQUEST', message)
}

/** @param what is said of the value, for messages */
export function asFields(value: unknown, what: string): JsonFields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonFields
  throw invalidRequest(`${what} must be an object; got ${showLeaf(value)}.`)
}

export function asList(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw invalidRequest(`${what} must be a list; got ${showLeaf(value)}.`)
}

export function asName(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw invalidRequest(`${what} must be a text that is not empty; got ${showLeaf(value)}.`)
}
