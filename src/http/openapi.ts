import { STATUS_CODES } from 'node:http'
import { inputComponents, refTo } from './openapi-inputs.js'
import { bytes, type JsonSchema } from './route-schema.js'
import type { Route } from './routes.js'

/** What a document is about. */
export interface ApiDescription {
  readonly title: string
  readonly version: string
  /** What the host mounts the routes below; empty where that is nothing. */
  readonly prefix: string
  readonly routes: readonly Route[]
  /** Whether admin routes take a bearer token. */
  readonly takesToken: boolean
  /** What each model takes, by name, where it is known. */
  readonly inputs: ReadonlyMap<string, JsonSchema>
  /** Content types that models take as bytes. */
  readonly accepts: readonly string[]
}

type OpenApiObject = Readonly<Record<string, unknown>>

const tokenScheme = { token: { type: 'http', scheme: 'bearer' } }

/**
 * Describes routes as OpenAPI 3.1. What a model takes is a component, `input.<model>`, that every route which asks it names;
 * so is every schema that has a title, under that.
 */
export function openApiDocument(api: ApiDescription): OpenApiObject {
  const { schemas: inputs, refs } = inputComponents(api.inputs)
  const paths: Record<string, Record<string, OpenApiObject>> = {}
  for (const route of api.routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, api, refs) }
  }
  const named = new Map<string, unknown>()
  return {
    openapi: '3.1.0',
    info: { title: api.title, version: api.version },
    servers: [{ url: api.prefix === '' ? '/' : api.prefix }],
    // Of who else may ask what, the host knows.
    security: [],
    paths: withoutTitled(paths, named),
    components: {
      schemas: { ...Object.fromEntries(named), ...inputs },
      ...(api.takesToken && { securitySchemes: tokenScheme }),
    },
  }
}

/** The same with references in the place of schemas that have a title. @param found is given those */
function withoutTitled(node: unknown, found: Map<string, unknown>): unknown {
  if (Array.isArray(node)) return node.map((each) => withoutTitled(each, found))
  if (typeof node !== 'object' || node === null) return node
  const { title } = node as { readonly title?: unknown }
  if (typeof title === 'string' && found.has(title)) return refTo(title)
  const own = Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, withoutTitled(value, found)]),
  )
  if (typeof title !== 'string') return own
  found.set(title, own)
  return refTo(title)
}

function operation(
  { schema, group, access }: Route,
  api: ApiDescription,
  inputs: readonly JsonSchema[],
): OpenApiObject {
  const { operationId, summary, tags, params, querystring, body, response } = schema
  const parameters = [...parametersOf(params, 'path'), ...parametersOf(querystring, 'query')]
  return {
    operationId,
    summary,
    tags,
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: {
        required: access === 'context' || requiredOf(body).length > 0,
        content:
          group === 'predict'
            ? {
                ...contentOf(inputs.length === 0 ? body : { anyOf: [...inputs, body] }),
                ...Object.fromEntries(api.accepts.map((type) => [type, { schema: bytes }])),
              }
            : contentOf(body),
      },
    }),
    responses: Object.fromEntries(
      Object.entries(response).map(([status, answer]) => [status.toUpperCase(), responseOf(status, answer)]),
    ),
    ...(access === 'admin' && api.takesToken && { security: [{ token: [] }] }),
  }
}

function parametersOf(schema: JsonSchema | undefined, place: 'path' | 'query'): OpenApiObject[] {
  const properties = (schema?.properties ?? {}) as Readonly<Record<string, JsonSchema>>
  return Object.entries(properties).map(([name, { description, ...own }]) => ({
    name,
    in: place,
    required: place === 'path' || requiredOf(schema).includes(name),
    ...(description !== undefined && { description }),
    schema: own,
  }))
}

function requiredOf(schema: JsonSchema | undefined): readonly unknown[] {
  return Array.isArray(schema?.required) ? schema.required : []
}

/** Schemas by content type: JSON, where a schema has none. */
function contentOf(schema: JsonSchema): OpenApiObject {
  return (schema.content as OpenApiObject | undefined) ?? { 'application/json': { schema } }
}

function responseOf(status: string, answer: JsonSchema): OpenApiObject {
  return { description: answer.description ?? describe(status), content: contentOf(answer) }
}

function describe(status: string): string {
  return (
    STATUS_CODES[status] ?? (status.startsWith('4') ? 'The request is at fault' : 'The server is at fault')
  )
}
