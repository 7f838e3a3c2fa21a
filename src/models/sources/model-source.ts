import { provided, isPlainObject, type Field } from '../../options.js'
import { bytesOf } from './buffer-source.js'
import { checkRemoteSource, type RemoteSource } from './remote-source.js'

/**
 * Where an artifact comes from: a folder of versions or one `.onnx` file by its path; the bytes of an `.onnx` file; or an
 * `.onnx` file on a server. The last two are kept on disk, by their SHA-256.
 */
export type ModelSource = string | Uint8Array | RemoteSource

export const sourceField: Field<ModelSource> = {
  ...provided<ModelSource>(
    'a path, the bytes of an .onnx file, or an object of url and sha256',
    (value) => (typeof value === 'string' && value !== '') || bytesOf(value) !== undefined || isRemote(value),
  ),
  inside: (value, path, code) => {
    if (typeof value !== 'string' && bytesOf(value) === undefined)
      checkRemoteSource(value as RemoteSource, path, code)
  },
}

function isRemote(value: unknown): boolean {
  return isPlainObject(value) && 'url' in value
}
