import { expect, test } from 'vitest'
import { inputComponents } from '../../src/http/openapi-inputs.js'
import type { JsonSchema } from '../../src/http/route-schema.js'

const at = (component: string) => ({ $ref: `#/components/schemas/${component}` })

function componentsOf(inputs: Readonly<Record<string, JsonSchema>>): Readonly<Record<string, JsonSchema>> {
  return inputComponents(new Map(Object.entries(inputs))).schemas
}

test('each model has a component, which is referred to', () => {
  const { schemas, refs } = inputComponents(new Map([['m', { type: 'object' }]]))
  expect(schemas).toEqual({ 'input.m': { title: 'The input of m', type: 'object' } })
  expect(refs).toEqual([at('input.m')])
})

test('what a schema defines is a component as well, and referred to as such', () => {
  const node = { properties: { next: { $ref: '#/$defs/Node' }, first: { $ref: '#' } } }
  const { title, ...input } = { title: 'mine', $ref: '#/$defs/Node', $defs: { Node: node } }
  expect(componentsOf({ m: { title, ...input } })).toEqual({
    'input.m': { title, ...at('input.m.Node') },
    'input.m.Node': { properties: { next: at('input.m.Node'), first: at('input.m') } },
  })
})

test('so is what it has by the older name', () => {
  const input = { items: { $ref: '#/definitions/A' }, definitions: { A: { type: 'null' } } }
  expect(componentsOf({ m: input })).toMatchObject({
    'input.m': { items: at('input.m.A') },
    'input.m.A': { type: 'null' },
  })
})

test('a reference into a part, or to any other place, goes there still', () => {
  const input = {
    properties: { a: { type: 'null' }, b: { $ref: '#/properties/a' }, c: { $ref: '#/$defs/P/properties/d' } },
    $defs: { P: { properties: { d: {} } } },
  }
  expect(componentsOf({ m: input })['input.m']).toMatchObject({
    properties: { b: at('input.m/properties/a'), c: at('input.m.P/properties/d') },
  })
})

test('names are those that a component may have, and no two the same', () => {
  const input = {
    anyOf: [{ $ref: '#/$defs/b' }, { $ref: '#/$defs/x~1y~0 %C3%A9' }, { $ref: '#/$defs/x_y___' }],
    $defs: { b: { const: 1 }, 'x/y~ \u00e9': { const: 2 }, x_y___: { const: 3 } },
  }
  const schemas = componentsOf({ a: input, 'a.b': { type: 'null' } })
  for (const name of Object.keys(schemas)) expect(name).toMatch(/^[\w.-]+$/)
  expect(schemas['input.a.b']).toMatchObject({ type: 'null' })
  const refs = schemas['input.a']?.anyOf as { readonly $ref: string }[]
  expect(refs.map(({ $ref }) => schemas[$ref.replace('#/components/schemas/', '')])).toEqual([
    { const: 1 },
    { const: 2 },
    { const: 3 },
  ])
})

test('hostile keys stay data', () => {
  const input = JSON.parse(
    '{"properties":{"__proto__":{"type":"null"},"$ref":{"type":"string"}},"$id":"http://x"}',
  )
  const schemas = componentsOf({ constructor: input as JsonSchema })
  expect(JSON.stringify(schemas['input.constructor'])).toBe(
    '{"title":"The input of constructor","properties":{"__proto__":{"type":"null"},"$ref":{"type":"string"}}}',
  )
})
