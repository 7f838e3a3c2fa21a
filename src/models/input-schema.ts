import type { JsonSchema } from '../options.js'
import { describe, type TensorInfo } from '../tensor/tensor.js'
import type { ServedModel } from './served-model.js'
import type { StandardSchemaV1 } from './standard-schema.js'
import type { TensorInterface } from './tensor-interface.js'

/** How some schema libraries give the JSON Schema of what their schemas take. */
interface JsonSchemaSource {
  /** Standard JSON Schema (standardschema.dev): zod and others. */
  readonly '~standard': {
    readonly jsonSchema?: { readonly input?: (options: { readonly target: string }) => JsonSchema }
  }
  /** zod's own. */
  readonly toJSONSchema?: (options: { readonly io: 'input' }) => JsonSchema
  /** arktype's own. */
  readonly toJsonSchema?: () => JsonSchema
}

/**
 * What callers of a model are held to, as JSON Schema: by its `input`, or its metadata once it is loaded; by those of the
 * stage that a pipeline hands its input to. Undefined where neither says it.
 * @param find gives a model
 */
export function inputSchemaOf(
  { definition: { kind, options }, current }: Pick<ServedModel, 'definition' | 'current'>,
  find: (model: string) => ServedModel | undefined,
): JsonSchema | undefined {
  if (options.input !== undefined) return schemaOfStandard(options.input)
  if (kind === 'pipeline') {
    const entry = options.entry && find(options.entry.model)
    return entry && inputSchemaOf(entry, find)
  }
  if (kind === 'custom' || options.encode !== undefined) return undefined
  if (kind === 'onnx' && options.codec !== undefined) return undefined
  const tensors = current?.tensorInterface
  return tensors && schemaOfTensors(tensors)
}

/** A function that makes its answer about an object once, and gives the same as long as there is the object. */
function once<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const made = new WeakMap<K, { readonly value: V }>()
  return (key) => {
    const kept = made.get(key) ?? { value: make(key) }
    made.set(key, kept)
    return kept.value
  }
}

/** What callers are held to by a schema, as JSON Schema; undefined where the schema has no way to say it. */
const schemaOfStandard = once((schema: StandardSchemaV1): JsonSchema | undefined => {
  const source = schema as unknown as JsonSchemaSource
  const { jsonSchema } = source['~standard']
  try {
    const given =
      jsonSchema?.input?.({ target: 'draft-2020-12' }) ??
      source.toJSONSchema?.({ io: 'input' }) ??
      source.toJsonSchema?.()
    if (given === undefined) return undefined
    const { $schema: _, ...own } = JSON.parse(JSON.stringify(given)) as JsonSchema
    return own
  } catch {
    return undefined // it has parts that no JSON is, a Date for instance
  }
})

/** What a model takes that is checked by its metadata, as JSON Schema: for each input one row, or a batch of rows. */
const schemaOfTensors = once(({ inputs, hasRows }: TensorInterface): JsonSchema => ({
  type: 'object',
  required: inputs.map(({ name }) => name),
  properties: Object.fromEntries(inputs.map((input) => [input.name, schemaOfTensor(input, hasRows)])),
}))

function schemaOfTensor({ dtype, shape }: TensorInfo, hasRows: boolean): JsonSchema {
  const description = describe({ dtype, shape })
  const element = schemaOfElement(dtype)
  if (!hasRows) return { description, ...nested(shape, element) }
  const row = nested(shape.slice(1), element)
  const isScalar = shape.length === 2 && shape[1] === 1
  return {
    description: `${description}: a row without the first dimension, or a list of rows`,
    anyOf: [...(isScalar ? [element] : []), row, { type: 'array', items: row }],
  }
}

function nested(shape: TensorInfo['shape'], element: JsonSchema): JsonSchema {
  return shape.reduceRight<JsonSchema>(
    (items, length) => ({
      type: 'array',
      items,
      ...(typeof length === 'number' && { minItems: length, maxItems: length }),
    }),
    element,
  )
}

function schemaOfElement(dtype: TensorInfo['dtype']): JsonSchema {
  if (dtype === 'string') return { type: 'string' }
  if (dtype === 'bool') return { type: 'boolean' }
  if (dtype.startsWith('float')) return { type: 'number' }
  return dtype.startsWith('u') ? { type: 'integer', minimum: 0 } : { type: 'integer' }
}
