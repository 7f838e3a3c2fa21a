import { InferenceError } from './inference-error.js'

/** The path of a model, or of one of its versions. @throws InferenceError INVALID_REQUEST */
export function modelPath(model: string, version: string | undefined): string {
  const path = `/v2/models/${segment('model', model, model)}`
  return version === undefined ? path : `${path}/versions/${segment('version', version, model)}`
}

/** A name as a part of a path. One of dots alone would lead out of the path, to something else. */
function segment(what: string, name: string, model: string): string {
  const isName =
    typeof name === 'string' && name !== '' && !/^\.{1,2}$/.test(name) && !/\p{Surrogate}/u.test(name)
  if (isName) return encodeURIComponent(name)
  const got = typeof name === 'string' ? JSON.stringify(name) : typeof name
  throw new InferenceError('INVALID_REQUEST', `the ${what} must be a name; got ${got}.`, { model })
}
