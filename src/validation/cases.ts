import { createReadStream } from 'node:fs'
import { messageOf, ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'

/** An input, and the answer that a version has to give. */
export interface ValidationCase {
  readonly input: unknown
  /**
   * The prediction; or an object with `prediction` and, where they are to be compared as well, `confidence` and
   * `scores`.
   */
  readonly expected: unknown
  /** How far numbers may be off, as {@link ValidationOptions.tolerance}. Default: that of the validation. */
  readonly tolerance?: number | undefined
}

/** Things one after another, or the path of a JSON Lines file with one a line. */
export type Lines<T> = Iterable<T> | AsyncIterable<T> | string

export function isLines(value: unknown): value is Lines<unknown> {
  if (typeof value === 'string') return true
  return (
    typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
  )
}

/**
 * Cases, checked: a file's are read as they are needed.
 * @throws ServingError INVALID_REQUEST that names the line, or the place, of what is no case
 */
export async function* casesOf(cases: Lines<ValidationCase>): AsyncGenerator<ValidationCase> {
  refuseNoLines(cases, 'cases')
  for await (const { value, place } of placed(cases)) {
    if (!isPlainObject(value) || !('input' in value) || !('expected' in value)) {
      throw new ServingError(
        'INVALID_REQUEST',
        `${place}: a case must be an object with "input" and "expected".`,
      )
    }
    const { tolerance } = value
    if (tolerance !== undefined && !(typeof tolerance === 'number' && tolerance >= 0)) {
      throw new ServingError('INVALID_REQUEST', `${place}: tolerance must be a number of at least 0.`)
    }
    yield { input: value.input, expected: value.expected, tolerance }
  }
}

/**
 * Inputs: those given as they are, or of a file of cases theirs.
 * @throws ServingError INVALID_REQUEST that names the line of what is no case
 */
export async function* inputsOf(inputs: Lines<unknown>): AsyncGenerator {
  refuseNoLines(inputs, 'inputs')
  if (typeof inputs !== 'string') {
    yield* inputs
    return
  }
  for await (const { value, place } of placed(inputs)) {
    if (!isPlainObject(value) || !('input' in value))
      throw new ServingError('INVALID_REQUEST', `${place}: a line must be an object with "input".`)
    yield value.input
  }
}

/** Where types are not checked, they may be anything. */
function refuseNoLines(lines: unknown, what: string): void {
  if (isLines(lines)) return
  throw new ServingError(
    'INVALID_REQUEST',
    `${what} must be a list, or the path of a file; got ${show(lines)}.`,
  )
}

async function* placed(lines: Lines<unknown>): AsyncGenerator<{ value: unknown; place: string }> {
  if (typeof lines === 'string') {
    yield* linesOf(lines)
    return
  }
  let i = 0
  for await (const value of lines) yield { value, place: `case ${i++}` }
}

async function* linesOf(path: string): AsyncGenerator<{ value: unknown; place: string }> {
  let number = 0
  for await (const line of textLinesOf(path)) {
    number++
    if (line.trim() === '') continue
    const place = `${path}, line ${number}`
    yield { value: parsed(line.replace(/^\uFEFF/, ''), place), place }
  }
}

/** Not by `readline`, whose iterator does not end with the errors of its stream. */
async function* textLinesOf(path: string): AsyncGenerator<string> {
  /** Of the last line: put together at its end, since a long one comes in many pieces. */
  let pieces: string[] = []
  try {
    for await (const chunk of createReadStream(path, 'utf8')) {
      const lines = String(chunk).split('\n')
      for (const line of lines.slice(0, -1)) {
        yield pieces.join('') + line
        pieces = []
      }
      pieces.push(lines.at(-1) ?? '')
    }
  } catch (error) {
    throw new ServingError('INVALID_REQUEST', `${path} could not be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
  yield pieces.join('')
}

function parsed(line: string, place: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new ServingError('INVALID_REQUEST', `${place} is not JSON: ${messageOf(error)}`, { cause: error })
  }
}
