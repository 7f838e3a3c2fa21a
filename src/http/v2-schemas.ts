import { bytes, list, named, object, type JsonSchema, type RouteSchema } from './route-schema.js'
import { modelName, versionName } from './schemas.js'

const string = { type: 'string' }
const boolean = { type: 'boolean' }
const tags = ['v2']

const error = named('InferError', object({ error: string }, [], 'What went wrong'))
export const errors = { '4xx': error, '5xx': error }

const parameters = {
  type: 'object',
  description: 'By name',
  additionalProperties: { type: ['string', 'number', 'boolean'] },
}

const shape = list({ type: 'integer' })

const datatype = {
  type: 'string',
  enum: [
    'BOOL',
    'UINT8',
    'UINT16',
    'UINT32',
    'UINT64',
    'INT8',
    'INT16',
    'INT32',
    'INT64',
    'FP16',
    'FP32',
    'FP64',
    'BYTES',
  ],
}

const data = {
  type: 'array',
  description: 'The elements, row-major, flat or nested; not where they are raw bytes',
  items: {},
}

const tensor = named(
  'InferTensor',
  object({ name: string, shape, datatype, parameters, data }, ['parameters', 'data']),
)
const metadata = list(object({ name: string, datatype, shape }))

const request = named(
  'InferRequest',
  object(
    {
      id: string,
      parameters,
      inputs: list(tensor),
      outputs: list(object({ name: string, parameters }, ['parameters'])),
    },
    ['id', 'parameters', 'outputs'],
    'Tensors; with the header Inference-Header-Content-Length those that are raw bytes follow the JSON',
  ),
)

const answer = named(
  'InferResponse',
  object({ model_name: string, model_version: string, id: string, parameters, outputs: list(tensor) }, [
    'id',
    'parameters',
  ]),
)

/** A schema of a route below a model. */
export function ofModel(schema: RouteSchema): RouteSchema {
  return { ...schema, params: object({ model: modelName }) }
}

/** The same below a version of it. */
export function ofVersion({ operationId, ...schema }: RouteSchema): RouteSchema {
  return {
    ...schema,
    operationId: `${operationId}OfVersion`,
    params: object({ model: modelName, version: versionName }),
  }
}

export const server = route('v2Server', 'What the server is', {
  200: object({ name: string, version: string, extensions: list(string) }),
})

export const live = route('v2Live', 'Whether the process can answer', { 200: object({ live: boolean }) })

const readiness = object({ ready: boolean })
export const ready = route('v2Ready', 'Whether every model serves', { 200: readiness, 503: readiness })

export const model = route('v2Model', 'What a model takes and gives', {
  200: named(
    'ModelMetadata',
    object({
      name: string,
      versions: list(string),
      platform: string,
      inputs: metadata,
      outputs: metadata,
    }),
  ),
  ...errors,
})

const modelReadiness = object({ name: string, ready: boolean })
export const modelReady = route('v2ModelReady', 'Whether a model serves', {
  200: modelReadiness,
  503: modelReadiness,
  404: error,
})

const integer = { type: 'integer' }
const duration = object({ count: integer, ns: integer })
const computed = { compute_input: duration, compute_infer: duration, compute_output: duration }

const statisticsAnswer = named(
  'Statistics',
  object({
    model_stats: list(
      object({
        name: string,
        version: string,
        last_inference: integer,
        inference_count: integer,
        execution_count: integer,
        inference_stats: object({
          success: duration,
          fail: duration,
          queue: duration,
          ...computed,
          cache_hit: duration,
          cache_miss: duration,
        }),
        batch_stats: list(object({ batch_size: integer, ...computed })),
      }),
    ),
  }),
)

export const allStatistics = route('v2Statistics', 'What was counted of all models', {
  200: statisticsAnswer,
  ...errors,
})
export const statistics = route('v2ModelStatistics', 'What was counted of a model', {
  200: statisticsAnswer,
  ...errors,
})

const configured = list(object({ name: string, data_type: string, dims: shape }))

export const config = route('v2Config', 'How a model is configured', {
  200: object(
    {
      name: string,
      platform: string,
      backend: string,
      max_batch_size: integer,
      input: configured,
      output: configured,
      instance_group: list(object({ kind: string, count: integer })),
      dynamic_batching: { type: 'object' },
    },
    ['dynamic_batching'],
  ),
  ...errors,
})

export const index = route(
  'v2RepositoryIndex',
  'Every version of every model, and its state',
  {
    200: list(object({ name: string, version: string, state: string, reason: string }, ['version'])),
    ...errors,
  },
  object({ ready: boolean }, ['ready']),
)

const wishes = object({ parameters }, ['parameters'])
export const load = route('v2Load', 'Loads a model', { 200: object({}), ...errors }, wishes)
export const unload = route('v2Unload', 'Unloads a model', { 200: object({}), ...errors }, wishes)

/** JSON, or JSON with raw bytes behind it. */
function jsonOrBytes(schema: JsonSchema): JsonSchema {
  return { content: { 'application/json': { schema }, 'application/octet-stream': { schema: bytes } } }
}

export const infer = route(
  'v2Infer',
  'Asks a model, in tensors',
  { 200: jsonOrBytes(answer), ...errors },
  jsonOrBytes(request),
)

function route(
  operationId: string,
  summary: string,
  response: RouteSchema['response'],
  body?: JsonSchema,
): RouteSchema {
  return { operationId, summary, tags, ...(body !== undefined && { body }), response }
}
