import type { Route } from './routes.js'
import { postGenerate, postGenerateStream } from './v2-generate.js'
import { generate, generateStream } from './v2-generate-schemas.js'
import { ofModel, ofVersion } from './v2-schemas.js'

/** The generate extension of the Open Inference Protocol: text for text. */
export const generateRoutes: readonly Route[] = [
  ...ofModelAndVersion('/generate', generate, postGenerate),
  ...ofModelAndVersion('/generate_stream', generateStream, postGenerateStream),
]

function ofModelAndVersion(path: string, schema: Route['schema'], handle: Route['handle']): Route[] {
  const common = { method: 'POST', group: 'v2', access: 'context', handle } as const
  return [
    { ...common, path: `/v2/models/:model${path}`, schema: ofModel(schema) },
    { ...common, path: `/v2/models/:model/versions/:version${path}`, schema: ofVersion(schema) },
  ]
}
