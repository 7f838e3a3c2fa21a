import { packageVersion } from '../version.js'
import { json, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'
import { openApiDocument, type ApiDescription } from './openapi.js'
import type { JsonSchema } from './route-schema.js'
import type { Route } from './routes.js'

/** Describes the routes of the door, and what the models take. */
export async function getOpenApi(exchange: Exchange): Promise<HttpResponse> {
  const { models } = exchange.serving
  await models.listed()
  const inputs = new Map<string, JsonSchema>()
  const accepts = new Set<string>()
  for (const name of models.names()) {
    const input = models.inputSchema(name)
    if (input !== undefined) inputs.set(name, input)
    for (const type of models.httpProfile(name)?.accepts ?? []) accepts.add(type)
  }
  return answerOf(exchange, inputs, [...accepts])
}

/** What was answered last, and what it was made of that may change. */
interface Answer extends Pick<ApiDescription, 'prefix' | 'inputs' | 'accepts'> {
  readonly response: HttpResponse
}

/** By the routes of a door. To make a document costs milliseconds of the event loop. */
const answers = new WeakMap<readonly Route[], Answer>()

function answerOf(
  { serverName, routes, takesToken, request }: Exchange,
  inputs: ApiDescription['inputs'],
  accepts: readonly string[],
): HttpResponse {
  const prefix = (request.path ?? '').replace(/\/[^/]*\/?$/, '')
  const last = answers.get(routes)
  if (last?.prefix === prefix && isSame(last.inputs, inputs) && last.accepts.join() === accepts.join())
    return last.response
  const own = { title: serverName, version: packageVersion, prefix, routes, takesToken }
  const response = json(200, openApiDocument({ ...own, inputs, accepts }))
  answers.set(routes, { prefix, inputs, accepts, response })
  return response
}

/** Whether two have the very same schemas. */
function isSame(one: ApiDescription['inputs'], other: ApiDescription['inputs']): boolean {
  return one.size === other.size && [...one].every(([model, schema]) => other.get(model) === schema)
}
