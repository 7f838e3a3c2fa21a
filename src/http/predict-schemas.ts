import { list, named, object, ofType, type JsonSchema, type RouteSchema } from './route-schema.js'
import { modelName, problem, versionName } from './schemas.js'

const string = { type: 'string' }
const number = { type: 'number' }

/** What a model makes of an input: any value, by its task or its own code. */
const outcome = {
  prediction: {},
  confidence: { description: 'From 0 to 1, where the model gives one' },
  scores: { description: 'Of each class, where asked for' },
}

const prediction = named(
  'Prediction',
  object(
    { request_id: string, ...outcome, model_version: string, latency_ms: number },
    ['confidence', 'scores'],
    'The answer to one input',
  ),
)

const predictions = named(
  'Predictions',
  object(
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
  ),
)

const predictBody = {
  title: 'PredictRequest',
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
      title: 'StreamRequest',
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
