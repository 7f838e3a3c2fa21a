import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import { describe, expect, test } from 'vitest'
import { modelFields, versionFields } from '../../src/models/model-config.js'
import { checkFields, schemaOf, text, type JsonSchema } from '../../src/options.js'
import { tables, type Row } from './option-tables.js'

const file = fileURLToPath(new URL('../../schema/model.schema.json', import.meta.url))
const examples = fileURLToPath(new URL('../../examples/models', import.meta.url))
const page = tables()

/** A schema with what docs/configuration.md says of each of its options. */
function described(schema: JsonSchema, headings: readonly string[]): JsonSchema {
  const rows = headings.flatMap((heading) => page[heading] ?? [])
  const properties = Object.entries(schema.properties as Record<string, JsonSchema>)
  const all = properties.map(([name, own]) => [name, withDescription(name, own, rows)])
  return { ...schema, properties: Object.fromEntries(all) }
}

function withDescription(name: string, own: JsonSchema, rows: readonly Row[]): JsonSchema {
  const row = rows.find(({ option }) => option === name)
  const description = row && row.meaning + (row.default && ` Default: ${row.default}.`)
  return { ...(description !== undefined && { description }), ...within(name, own) }
}

/** The options inside an option, which have a table by its name. */
function within(name: string, own: JsonSchema): JsonSchema {
  if ('properties' in own) return described(own, [name])
  if ('items' in own) return { ...own, items: within(name, own.items as JsonSchema) }
  if (!('anyOf' in own)) return own
  return { ...own, anyOf: (own.anyOf as JsonSchema[]).map((one) => within(name, one)) }
}

const $schema = { description: 'This schema, for editors.', ...text.schema }

function generated(): JsonSchema {
  const model = described(schemaOf(modelFields), ['Every model', 'ONNX models'])
  const own = Object.entries(model.properties as object).filter(([name]) => name in versionFields)
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'model.json of mlserving',
    description: 'What a model is served with. In the folder of a version only the task may be given.',
    ...model,
    properties: { $schema, ...(model.properties as object) },
    definitions: {
      version: {
        description: 'The model.json of one version.',
        type: 'object',
        properties: { $schema, ...(Object.fromEntries(own) as object) },
        additionalProperties: false,
      },
    },
  }
}

test('schema/model.schema.json is what the options say: `npx vitest run test/docs -u` writes it', async () => {
  const options = { ...(await resolveConfig(file)), filepath: file }
  await expect(await format(JSON.stringify(generated()), options)).toMatchFileSnapshot(file)
})

/** As much of JSON Schema as ours has. */
function fits(value: unknown, schema: JsonSchema): boolean {
  const {
    anyOf,
    items,
    type,
    properties = {},
    required = [],
  } = schema as {
    anyOf?: JsonSchema[]
    items?: JsonSchema
    type?: string | string[]
    properties?: Record<string, JsonSchema>
    required?: string[]
  }
  if (anyOf !== undefined && !anyOf.some((one) => fits(value, one))) return false
  if ('const' in schema && value !== schema.const) return false
  if ('enum' in schema && !(schema.enum as unknown[]).includes(value)) return false
  if (type !== undefined && ![type].flat().includes(typeOf(value))) return false
  if (typeof value === 'string') return value.length >= ((schema.minLength as number | undefined) ?? 0)
  if (typeof value === 'number') {
    const { minimum = -Infinity, maximum = Infinity } = schema as Record<string, number>
    return value >= minimum && value <= maximum
  }
  if (Array.isArray(value)) {
    if (value.length < ((schema.minItems as number | undefined) ?? 0)) return false
    const texts = new Set(value.map((one) => JSON.stringify(one)))
    if (schema.uniqueItems === true && texts.size < value.length) return false
    return items === undefined || value.every((one) => fits(one, items))
  }
  if (typeof value !== 'object' || value === null) return true
  const { additionalProperties: others = true } = schema as { additionalProperties?: boolean | JsonSchema }
  return (
    required.every((name) => Object.hasOwn(value, name)) &&
    Object.entries(value).every(([name, one]) => {
      const own = Object.hasOwn(properties, name) ? properties[name] : others
      return typeof own === 'object' ? fits(one, own) : own !== false
    })
  )
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (value === null) return 'null'
  return Number.isInteger(value) ? 'integer' : typeof value
}

const published = generated()

describe('the published schema', () => {
  const models = readdirSync(examples, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  test.each(models.map(({ name }) => name))('takes examples/models/%s/model.json', (name) => {
    const value: unknown = JSON.parse(readFileSync(join(examples, name, 'model.json'), 'utf8'))
    expect(fits(value, published)).toBe(true)
  })

  const task = { type: 'classification', output: 'p' }
  test.each<object>([
    {},
    { $schema: 'x', description: 'x', current: '2', lazy: true, keepPrevious: 0, fallback: 'other' },
    { batching: true, cache: true, maxQueueRows: 1, maxQueueBytes: 1 },
    { batching: false },
    { warmUp: true, lazy: true, idleUnloadMs: 1 },
    { warmUp: [{ x: 1 }] },
    { warmUp: [] },
    { warmUp: false },
    { batching: { safe: true } },
    { batching: { maxBatchSize: 8, maxDelayMs: 0 }, cache: { ttlMs: 1, staleOnErrorMs: 0 } },
    { task, placement: 'inline', instances: 2, intraOpThreads: 1 },
    { task: { ...task, classes: ['a', 'b'], activation: 'softmax' } },
    { session: { graphOptimizationLevel: 'basic', logSeverityLevel: 3 } },
    { session: { extra: { session: { disable_prepacking: '1' }, 'session.set_denormal_as_zero': '1' } } },
    { providers: ['cuda', { name: 'cpu' }] },
    { providers: [{ name: 'cuda', deviceId: 1 }] },
    { $schema: 1 },
    { taks: {} },
    { source: 'x' },
    { accepts: ['image/png'] },
    { unchecked: true },
    { description: '' },
    { lazy: 'yes' },
    { keepPrevious: 17 },
    { keepPrevious: 1.5 },
    { batching: { maxBatchSize: 0 } },
    { batching: { safe: false } },
    { batching: 'yes' },
    { cache: { ttl: 1 } },
    { task: { ...task, type: 'regression' } },
    { task: { ...task, classes: [] } },
    { task: { ...task, classes: ['a', 'a'] } },
    { placement: 'gpu' },
    { session: { intraOpNumThreads: 1 } },
    { session: { extra: { session: { disable_prepacking: 1 } }, nothing: 1 } },
    { providers: [] },
    { providers: ['cpu', 'cpu'] },
    { providers: ['npu'] },
    { providers: [{ name: 'cpu', deviceId: 1 }] },
    { providers: [{ deviceId: 1 }] },
  ])('takes and refuses as the loader does: %j', (value) => {
    expect(fits(value, published)).toBe(isTaken(value))
  })
})

function isTaken(value: object): boolean {
  try {
    checkFields(value, { ...modelFields, $schema: text }, 'model.json', 'INVALID_CONFIG')
    return true
  } catch {
    return false
  }
}
