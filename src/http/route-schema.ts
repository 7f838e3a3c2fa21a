/** A JSON Schema, as data. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** What a route takes and answers, in the shape that Fastify and OpenAPI generators read. */
export interface RouteSchema {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly params?: JsonSchema
  readonly querystring?: JsonSchema
  /** A schema of JSON, or `content` with schemas by type. */
  readonly body?: JsonSchema
  /** By status: as {@link body}. */
  readonly response: Readonly<Record<string, JsonSchema>>
}

/** A schema of an object. @param optional the properties that need not be there */
export function object(
  properties: JsonSchema,
  optional: readonly string[] = [],
  description?: string,
): JsonSchema {
  return {
    type: 'object',
    ...(description !== undefined && { description }),
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
    properties,
  }
}

/** An answer of another type than JSON. */
export function ofType(type: string, schema: JsonSchema, description: string): JsonSchema {
  return { description, content: { [type]: { schema } } }
}

export function list(items: JsonSchema): JsonSchema {
  return { type: 'array', items }
}

/** A schema that a document has once, under its name. */
export function named(title: string, schema: JsonSchema): JsonSchema {
  return { title, ...schema }
}

/** A body, or an answer, that is bytes. */
export const bytes: JsonSchema = { type: 'string', format: 'binary' }
