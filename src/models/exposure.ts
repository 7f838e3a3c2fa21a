import { provided, type Fields, flag } from '../options.js'
import type { ModelDefinition } from './model-definition.js'

/** How a model is reached over HTTP. Only code says it: a folder is data. */
export interface ExposureOptions {
  /**
   * Content types, such as `image/*`, whose bodies are handed as they are to `input` and `encode`: a Uint8Array,
   * inflated. Default: none, bodies are JSON.
   */
  readonly accepts?: readonly string[]
  /**
   * Lets `encode`, `codec`, the `run` of a custom model or a pipeline have JSON that no `input` schema has checked. Default: false,
   * and the model is not reachable over HTTP.
   */
  readonly unchecked?: boolean
}

/** What an HTTP door must know of a model. */
export interface HttpProfile {
  /** Content types whose bodies the model takes as bytes. */
  readonly accepts: readonly string[]
  /** Whether JSON is checked before the model's own code has it, or need not be. */
  readonly checked: boolean
  /** Whether it answers item by item. */
  readonly streams: boolean
}

const mediaType = /^([\w.+-]+\/([\w.+-]+|\*)|\*\/\*)$/
const jsonType = /^application\/([\w.-]+\+)?json$/i

export const exposureFields: Fields<ExposureOptions> = {
  accepts: provided(
    'a list of content types other than JSON, such as "image/*"',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((type) => typeof type === 'string' && mediaType.test(type) && !jsonType.test(type)),
  ),
  unchecked: flag,
}

/** What an HTTP door must know of a model; undefined where there is none. @param find gives the definition of a model */
export function httpProfile(
  model: string,
  find: (model: string) => ModelDefinition | undefined,
): HttpProfile | undefined {
  const definition = find(model)
  if (definition === undefined) return undefined
  const first = definition.kind === 'pipeline' ? definition.options.entry : undefined
  const profile = first && httpProfile(first.model, find)
  return {
    accepts: definition.options.accepts ?? profile?.accepts ?? [],
    checked: isChecked(definition) || profile?.checked === true,
    streams: definition.kind === 'custom' && definition.options.stream !== undefined,
  }
}

/** Whether a model's own code has JSON only after a schema, or the user said that it need not. */
function isChecked({ kind, options }: ModelDefinition): boolean {
  if (options.unchecked === true || options.input !== undefined) return true
  if (kind === 'backend') return options.encode === undefined
  return kind === 'onnx' && options.encode === undefined && options.codec === undefined
}
