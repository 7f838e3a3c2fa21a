import { object, ofType, named, type RouteSchema } from './route-schema.js'
import { errors } from './v2-schemas.js'

const string = { type: 'string' }
const tags = ['v2']

const body = named('GenerateRequest', {
  ...object(
    { text_input: string, parameters: { type: 'object', additionalProperties: true } },
    ['parameters'],
    "The model's input",
  ),
  additionalProperties: true,
})

const answer = { model_name: string, model_version: string, text_output: string }

export const generate: RouteSchema = {
  operationId: 'v2Generate',
  summary: 'Asks a model for text',
  tags,
  body,
  response: { 200: named('GenerateResponse', object(answer)), ...errors },
}

export const generateStream: RouteSchema = {
  operationId: 'v2GenerateStream',
  summary: 'Asks a model for text, piece by piece',
  tags,
  body,
  response: {
    200: ofType(
      'text/event-stream',
      object({ ...answer, done: { type: 'boolean', description: 'True of the last, which has no text' } }),
      'Server-sent events, each with a piece of the text, or with an error',
    ),
    ...errors,
  },
}
