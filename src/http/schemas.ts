import { list, named, object, ofType, type JsonSchema, type RouteSchema } from './route-schema.js'

const string = { type: 'string' }
const number = { type: 'number' }

/** RFC 9457, with the code of the error table. */
export const problem = ofType(
  'application/problem+json',
  named(
    'Problem',
    object({
      type: string,
      title: string,
      status: { type: 'integer' },
      code: string,
      detail: string,
      request_id: string,
    }),
  ),
  'What went wrong',
)

const readiness = named(
  'Readiness',
  object(
    {
      status: { type: 'string', enum: ['ready', 'not_ready'] },
      timestamp: number,
      problems: list(string),
      warnings: list(string),
      generation: { type: 'integer', description: "Of the replicas' shared state" },
    },
    ['problems', 'warnings', 'generation'],
  ),
)

const tensor = named(
  'TensorInfo',
  object({
    name: string,
    dtype: string,
    shape: list({ description: 'A length, or the name of one that varies', type: ['integer', 'string'] }),
  }),
)

const version = named(
  'ModelVersion',
  object(
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
      batchSizes: list(
        object({ signature: string, bestRows: { type: 'integer' }, gain: { type: 'number' } }),
      ),
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
  ),
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

export const snapshot = named(
  'Model',
  object(
    {
      name: string,
      description: string,
      current: { type: 'string', description: 'The version that serves' },
      labels: { type: 'object', additionalProperties: string, description: 'Versions by label' },
      canary: object(
        { version: string, percent: number },
        [],
        'The version that has a share of the requests',
      ),
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
  ),
)

export const modelName = { type: 'string', description: 'A name of GET /models' }
export const labelName = { type: 'string', description: 'A label of the model' }
export const versionName = { type: 'string', description: 'A version, a label, or "latest"' }

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
