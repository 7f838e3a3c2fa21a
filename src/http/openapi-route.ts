import { packageVersion } from '../version.js'
import { json, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'
import { openApiDocument } from './openapi.js'
import type { JsonSchema } from './schemas.js'

/** Describes the routes of the door, and what the models take. */
export async function getOpenApi(exchange: Exchange): Promise<HttpResponse> {
  const { serving, serverName, routes, takesToken, request } = exchange
  const { models } = serving
  await models.listed()
  const inputs = new Map<string, JsonSchema>()
  const accepts = new Set<string>()
  for (const name of models.names()) {
    const input = models.inputSchema(name)
    if (input !== undefined) inputs.set(name, input)
    for (const type of models.httpProfile(name)?.accepts ?? []) accepts.add(type)
  }
  const prefix = (request.path ?? '').replace(/\/[^/]*\/?$/, '')
  const own = { title: serverName, version: packageVersion, prefix, routes, takesToken }
  return json(200, openApiDocument({ ...own, inputs, accepts: [...accepts] }))
}
