import { STATUS_CODES } from 'node:http'
import type { Route } from './routes.js'
import type { JsonSchema } from './schemas.js'

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

/** Describes routes as OpenAPI 3.1. What a model takes is a component, `input.<model>`, that every route which asks it names. */
export function openApiDocument(api: ApiDescription): OpenApiObject {
  const paths: Record<string, Record<string, OpenApiObject>> = {}
  for (const route of api.routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, api) }
  }
  const schemas = [...api.inputs].map(([model, schema]) => [componentOf(model), within(model, schema)])
  return {
    openapi: '3.1.0',
    info: { title: api.title, version: api.version },
    servers: [{ url: api.prefix === '' ? '/' : api.prefix }],
    paths,
    components: {
      schemas: Object.fromEntries(schemas) as OpenApiObject,
      ...(api.takesToken && { securitySchemes: tokenScheme }),
    },
  }
}

function operation({ schema, group, access }: Route, api: ApiDescription): OpenApiObject {
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
        content: {
          'application/json': { schema: group === 'predict' ? ofModels(body, api.inputs) : body },
          ...(group === 'predict' && Object.fromEntries(api.accepts.map((type) => [type, bytes]))),
        },
      },
    }),
    responses: Object.fromEntries(
      Object.entries(response).map(([status, answer]) => [status.toUpperCase(), responseOf(status, answer)]),
    ),
    ...(access === 'admin' && api.takesToken && { security: [{ token: [] }] }),
  }
}

const bytes = { schema: { type: 'string', contentEncoding: 'binary' } }

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

/** The body of a route that asks whichever model. */
function ofModels(body: JsonSchema, inputs: ApiDescription['inputs']): JsonSchema {
  if (inputs.size === 0) return body
  return { anyOf: [...[...inputs.keys()].map((model) => ({ $ref: refOf(model) })), body] }
}

function responseOf(status: string, answer: JsonSchema): OpenApiObject {
  const { description = describe(status), content = { 'application/json': { schema: answer } } } = answer
  return { description, content }
}

function describe(status: string): string {
  return (
    STATUS_CODES[status] ?? (status.startsWith('4') ? 'The request is at fault' : 'The server is at fault')
  )
}

function componentOf(model: string): string {
  return `input.${model}`
}

function refOf(model: string): string {
  return `#/components/schemas/${componentOf(model)}`
}

/** A schema as a part of the document: what it says of its own parts is said from the document's root. */
function within(model: string, schema: JsonSchema): JsonSchema {
  const visit = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(visit)
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(
      Object.entries(node).map(([key, value]) =>
        key === '$ref' && typeof value === 'string' && value.startsWith('#')
          ? [key, `${refOf(model)}${value.slice(1)}`]
          : [key, visit(value)],
      ),
    )
  }
  return { title: `The input of ${model}`, ...(visit(schema) as JsonSchema) }
}
