import { expect, it } from 'vitest'
import { checkFields, fields, integer, nearest, oneOf, text, texts, type Fields } from '../src/options.js'

interface Sample {
  name?: string
  rows?: number
  mode?: 'a' | 'b'
  inner?: { classes?: readonly string[] }
}
const sample: Fields<Sample> = {
  name: text,
  rows: integer(1, 10),
  mode: oneOf('a', 'b'),
  inner: fields<{ classes?: readonly string[] }>({ classes: texts }),
}
const check = (value: unknown) => () => checkFields<Sample>(value, sample, 'sample()', 'INVALID_OPTIONS')

it('options that fit pass, and undefined is as good as absent', () => {
  expect(check({ name: 'x', rows: 3, mode: 'b', inner: { classes: ['a'] } })).not.toThrow()
  expect(check({ name: undefined })).not.toThrow()
})

it.each<[unknown, string]>([
  [{ nam: 'x' }, 'sample(): unknown option "nam". Did you mean "name"?'],
  [{ whatever: 1 }, 'sample(): unknown option "whatever". Known are name, rows, mode, inner.'],
  [
    JSON.parse('{"__proto__": 1}'),
    'sample(): unknown option "__proto__". Known are name, rows, mode, inner.',
  ],
  [{ rows: 11 }, 'sample(): rows must be an integer from 1 to 10; got 11.'],
  [{ rows: '3' }, 'sample(): rows must be an integer from 1 to 10; got "3".'],
  [{ mode: 'c' }, 'sample(): mode must be one of "a", "b"; got "c".'],
  [{ inner: [] }, 'sample(): inner must be an object; got a list of 0.'],
  [
    { inner: { classes: ['a', 'a'] } },
    'sample(): inner: classes must be a list of strings, each once, at least one; got a list of 2.',
  ],
  [{ inner: { clases: ['a'] } }, 'sample(): inner: unknown option "clases". Did you mean "classes"?'],
  [null, 'sample(): the value must be an object; got null.'],
])('%j is refused: %s', (value, message) => {
  expect(check(value)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS', message }) as Error)
})

it('the nearest candidate is offered only when it is near', () => {
  expect(nearest('sentimnt', ['sentiment', 'digits'])).toBe('sentiment')
  expect(nearest('SENTIMENT', ['sentiment'])).toBe('sentiment')
  expect(nearest('vision', ['sentiment', 'digits'])).toBeUndefined()
})

it('an option that must be there and is not is named with what it should be', () => {
  const task = {
    task: fields<{ type?: string; output?: string }>({ type: text, output: text }, ['type', 'output']),
  }
  const value: unknown = { task: { type: 'x' } }
  expect(() => checkFields<{ task?: object }>(value, task as never, 'model.json', 'INVALID_CONFIG')).toThrow(
    'model.json: task.output is missing; it must be a non-empty string.',
  )
})
