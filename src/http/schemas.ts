/** A JSON Schema, as data. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** What a route takes and answers, in the shape that Fastify and OpenAPI generators read. */
export interface RouteSchema {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly params?: JsonSchema
  readonly querystring?: JsonSchema
  readonly body?: JsonSchema
  /** By status: a schema of JSON, or `content` with schemas by type. */
  readonly response: Readonly<Record<string, JsonSchema>>
}

const string = { type: 'string' }
const number = { type: 'number' }

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

/** RFC 9457, with the code of the error table. */
const problem = ofType(
  'application/problem+json',
  object({
    type: string,
    title: string,
    status: { type: 'integer' },
    code: string,
    detail: string,
    request_id: string,
  }),
  'What went wrong',
)

const readiness = object(
  {
    status: { type: 'string', enum: ['ready', 'not_ready'] },
    timestamp: number,
    problems: list(string),
    warnings: list(string),
    generation: { type: 'integer', description: "Of the replicas' shared state" },
  },
  ['problems', 'warnings', 'generation'],
)

const tensor = object({
  name: string,
  dtype: string,
  shape: list({ description: 'A length, or the name of one that varies', type: ['integer', 'string'] }),
})

const version = object(
  {
    version: string,
    state: {
      type: 'string',
      enum: ['registered', 'loading', 'ready', 'draining', 'unloaded', 'failed'],
    },
    reason: string,
    loadTimeMs: number,
    placement: string,
    instances: { type: 'integer' },
    intraOpThreads: { type: 'integer' },
    providers: list(string),
    sha256: string,
    batchSizes: list(object({ signature: string, bestRows: { type: 'integer' }, gain: { type: 'number' } })),
    changed: { type: 'boolean', description: 'Its files are no longer those that were loaded' },
    batching: object(
      {
        safe: { type: 'boolean' },
        by: { type: 'string', enum: ['declared', 'proven', 'refused', 'unproven'] },
        reason: string,
      },
      [],
      'Whether requests may share a run',
    ),
  },
  [
    'reason',
    'loadTimeMs',
    'placement',
    'instances',
    'intraOpThreads',
    'providers',
    'batching',
    'sha256',
    'batchSizes',
    'changed',
  ],
)

const count = { type: 'integer' }

const shadow = object(
  {
    version: string,
    fraction: number,
    agreed: count,
    disagreed: count,
    failed: count,
    dropped: count,
    skipped: count,
    meanDistance: number,
    maxDistance: number,
  },
  ['meanDistance', 'maxDistance'],
  'The version that is given copies of requests, and what became of them',
)

export const snapshot = object(
  {
    name: string,
    description: string,
    current: { type: 'string', description: 'The version that serves' },
    labels: { type: 'object', additionalProperties: string, description: 'Versions by label' },
    canary: object({ version: string, percent: number }, [], 'The version that has a share of the requests'),
    shadow,
    reason: string,
    configReason: { type: 'string', description: 'Why its model.json is not heeded' },
    versions: list(version),
    inputs: list(tensor),
    outputs: list(tensor),
    stages: list(object({ model: string, version: string }, ['version'])),
  },
  [
    'description',
    'current',
    'labels',
    'canary',
    'shadow',
    'reason',
    'configReason',
    'inputs',
    'outputs',
    'stages',
  ],
)

export const modelName = { type: 'string', description: 'A name of GET /models' }
export const labelName = { type: 'string', description: 'A label of the model' }
export const versionName = { type: 'string', description: 'A version, a label, or "latest"' }

/** What a model makes of an input: any value, by its task or its own code. */
const outcome = {
  prediction: {},
  confidence: { description: 'From 0 to 1, where the model gives one' },
  scores: { description: 'Of each class, where asked for' },
}

const prediction = object(
  { request_id: string, ...outcome, model_version: string, latency_ms: number },
  ['confidence', 'scores'],
  'The answer to one input',
)

const predictions = object(
  {
    request_id: string,
    predictions: list({
      anyOf: [
        object({ ...outcome, model_version: string }, ['confidence', 'scores']),
        object({ error: object({ code: string, detail: string }) }),
      ],
    }),
    latency_ms: number,
  },
  [],
  'The answers to instances, in their order',
)

const predictBody = {
  type: 'object',
  description:
    'The input itself, one row without a batch axis; or {"input": {...}} where names collide; or {"instances": [{...}, ...]} for several.',
  additionalProperties: true,
  properties: {
    model_version: { ...versionName, type: ['string', 'null'] },
    input: { type: 'object', additionalProperties: true },
    instances: { type: 'array', minItems: 1, items: {} },
  },
}

const scores = {
  type: 'object',
  properties: {
    scores: {
      type: 'boolean',
      default: false,
      description: 'Adds the score of each class, where there are any',
    },
  },
}

/** The routes that predict differ in how they name the model. */
function predictRoute(operationId: string, summary: string, params?: JsonSchema): RouteSchema {
  return {
    operationId,
    summary,
    tags: ['predict'],
    ...(params !== undefined && { params }),
    querystring: scores,
    body: predictBody,
    response: {
      200: { anyOf: [prediction, predictions] },
      '4xx': problem,
      '5xx': problem,
    },
  }
}

export const predict = predictRoute('predict', 'Asks the only model, or the default one')
export const predictModel = predictRoute(
  'predictModel',
  'Asks the version of a model that serves',
  object({ model: modelName }),
)
export const predictVersion = predictRoute(
  'predictVersion',
  'Asks a version of a model',
  object({ model: modelName, version: versionName }),
)

/** The events of a stream have no schema as a whole: a model's items are its own. */
function streamRoute(operationId: string, summary: string, params: JsonSchema): RouteSchema {
  const { instances: _, ...properties } = predictBody.properties
  return {
    operationId,
    summary,
    tags: ['predict'],
    params,
    body: {
      ...predictBody,
      description: 'The input itself, or {"input": {...}} where names collide.',
      properties,
    },
    response: {
      200: ofType(
        'text/event-stream',
        string,
        'Server-sent events: a message with each item as JSON; then "done", or "error" with problem details',
      ),
      '4xx': problem,
      '5xx': problem,
    },
  }
}

export const streamModel = streamRoute(
  'streamModel',
  'Asks the version of a model that serves for its answer item by item',
  object({ model: modelName }),
)
export const streamVersion = streamRoute(
  'streamVersion',
  'Asks a version of a model for its answer item by item',
  object({ model: modelName, version: versionName }),
)

export const rollbackAnswer = object({
  version: { ...string, description: 'The version that serves now' },
  from: { ...string, description: 'The one that served before' },
  reloaded: { type: 'boolean', description: 'Whether it had to be loaded again' },
})

/** What differs from one admin route to the next. */
interface AdminParts {
  readonly operationId: string
  readonly summary: string
  readonly params: JsonSchema
  readonly body?: JsonSchema | undefined
  readonly answer: JsonSchema
}

export function adminSchema({ operationId, summary, params, body, answer }: AdminParts): RouteSchema {
  return {
    operationId,
    summary,
    tags: ['admin'],
    params: object(params),
    ...(body !== undefined && { body }),
    response: { 200: answer, '4xx': problem, '5xx': problem },
  }
}

export const health: RouteSchema = {
  operationId: 'health',
  summary: 'Whether the process can answer',
  tags: ['health'],
  response: { 200: object({ status: { type: 'string', enum: ['healthy'] }, timestamp: number }) },
}

export const ready: RouteSchema = {
  operationId: 'ready',
  summary: 'Whether every model serves',
  tags: ['health'],
  response: { 200: readiness, 503: readiness },
}

export const models: RouteSchema = {
  operationId: 'models',
  summary: 'Every model, with its versions',
  tags: ['models'],
  response: { 200: object({ models: list(snapshot) }) },
}

export const model: RouteSchema = {
  operationId: 'model',
  summary: 'One model, with its versions',
  tags: ['models'],
  params: object({ model: modelName }),
  response: { 200: snapshot, 404: problem },
}

export const metrics: RouteSchema = {
  operationId: 'metrics',
  summary: 'Metrics as Prometheus text',
  tags: ['metrics'],
  response: { 200: ofType('text/plain', string, 'In the text format of Prometheus') },
}

export const openApi: RouteSchema = {
  operationId: 'openApi',
  summary: 'This document',
  tags: ['openapi'],
  response: { 200: { type: 'object', additionalProperties: true } },
}
