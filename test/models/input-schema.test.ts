import { createServing, custom, onnx, strings, type StandardSchemaV1 } from 'mlserving'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'
import { addInt64 } from '../onnx/models.js'
import { model, node, tensorValue } from '../onnx/writer.js'

/** What `input` says, as JSON Schema. */
async function schemaOf(input: StandardSchemaV1<never, never>): Promise<unknown> {
  const serving = createServing({ models: { m: custom({ input, load: () => 1, run: () => [] }) } })
  onTestFinished(() => serving.close())
  await serving.models.listed()
  return serving.models.inputSchema('m')
}

const standard = { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } as const
type AnySchema = StandardSchemaV1<never, never>

describe('the JSON Schema of an input', () => {
  test('is made once, since to make it costs more than the rest of a document', async () => {
    const input = z.object({ n: z.string() })
    expect(await schemaOf(input as AnySchema)).toBe(await schemaOf(input as AnySchema))
  })

  test('is that of what callers send, rather than of what becomes of it', async () => {
    expect(await schemaOf(z.object({ n: z.string().transform(Number) }) as AnySchema)).toMatchObject({
      properties: { n: { type: 'string' } },
    })
  })

  test.each<[string, object]>([
    [
      'Standard JSON Schema',
      { '~standard': { ...standard, jsonSchema: { input: () => ({ type: 'null' }) } } },
    ],
    ['toJSONSchema', { '~standard': standard, toJSONSchema: () => ({ $schema: 'x', type: 'null' }) }],
    [
      'toJsonSchema, of a function',
      Object.assign(() => {}, { '~standard': standard, toJsonSchema: () => ({ type: 'null' }) }),
    ],
  ])('is given by %s', async (_, schema) => {
    expect(await schemaOf(schema as AnySchema)).toEqual({ type: 'null' })
  })

  test.each<[string, object]>([
    ['has no way to say it', { '~standard': standard }],
    ['takes what no JSON is', z.object({ when: z.date() })],
    ['gives what no JSON is', { '~standard': standard, toJSONSchema: () => ({ default: 1n }) }],
  ])('is not there where the schema %s', async (_, schema) => {
    expect(await schemaOf(schema as AnySchema)).toBeUndefined()
  })
})

describe('the JSON Schema of metadata', () => {
  async function schemaOfModel(bytes: Uint8Array, code: object = {}): Promise<unknown> {
    const source = temporaryRepository({ '1/model.onnx': bytes })
    const serving = createServing({
      models: { m: onnx({ source, placement: 'inline', ...code }) },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.models.listed()
    expect(serving.models.inputSchema('m')).toBeUndefined() // not before it is loaded
    await serving.ready()
    return serving.models.inputSchema('m')
  }

  test('has an entry for each input, of a row or of rows', async () => {
    const bytes = model({
      nodes: [
        node('Identity', ['amount'], ['a']),
        node('Identity', ['name'], ['n']),
        node('Identity', ['flag'], ['f']),
      ],
      inputs: [
        tensorValue('amount', 'float32', ['batch', 1]),
        tensorValue('name', 'string', ['']),
        tensorValue('flag', 'bool', ['batch', 'any', 2]),
      ],
      outputs: [
        tensorValue('a', 'float32', ['batch', 1]),
        tensorValue('n', 'string', ['batch']),
        tensorValue('f', 'bool', ['batch', 'any', 2]),
      ],
    })
    const amount = { type: 'array', items: { type: 'number' }, minItems: 1, maxItems: 1 }
    const pair = { type: 'array', items: { type: 'boolean' }, minItems: 2, maxItems: 2 }
    const flags = { type: 'array', items: pair }
    const text = { type: 'string' }
    const of = (what: string) => `${what}: a row without the first dimension, or a list of rows`
    expect(await schemaOfModel(bytes)).toEqual({
      type: 'object',
      required: ['amount', 'name', 'flag'],
      properties: {
        amount: {
          description: of('float32 [batch, 1]'),
          anyOf: [{ type: 'number' }, amount, { type: 'array', items: amount }],
        },
        name: { description: of('string [?]'), anyOf: [text, { type: 'array', items: text }] },
        flag: { description: of('bool [batch, any, 2]'), anyOf: [flags, { type: 'array', items: flags }] },
      },
    })
  })

  test('of a model without a leading dimension that varies is that of its whole input', async () => {
    const bytes = model({
      nodes: [node('Identity', ['x'], ['y'])],
      inputs: [tensorValue('x', 'uint8', [2, 'n'])],
      outputs: [tensorValue('y', 'uint8', [2, 'n'])],
    })
    const items = { type: 'array', items: { type: 'integer', minimum: 0 } }
    expect(await schemaOfModel(bytes)).toMatchObject({
      properties: { x: { description: 'uint8 [2, n]', type: 'array', items, minItems: 2, maxItems: 2 } },
    })
  })

  test('is not there where code makes the tensors', async () => {
    expect(await schemaOfModel(addInt64(), { encode: () => ({ x: strings(['a']) }) })).toBeUndefined()
  })
})
