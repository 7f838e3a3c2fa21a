import { stat } from 'node:fs/promises'
import path from 'node:path'
import { ServingError } from '../errors.js'
import { ModelFile } from './model-file.js'

/**
 * The largest file that is looked into for data in other files alone. A model whose numbers lie in other files is itself
 * small, and reading a large one twice would cost more than loading it once.
 */
export const checkedBytes = 16 * 1024 * 1024

/**
 * Refuses a model that would have the runtime read files outside of the model's folder as its numbers. Links are
 * left to the runtime, whose newer versions make this check themselves, for files of any size.
 * @throws ServingError INVALID_MODEL
 */
export function refuseForeignData({ path, externalData }: ModelFile): void {
  for (const location of externalData) {
    if (liesInside(location)) continue
    throw new ServingError(
      'INVALID_MODEL',
      `${path}: its numbers are in "${location}", which is not in the model's folder. Put the file beside the model, and export it with a relative location.`,
    )
  }
}

function liesInside(location: string): boolean {
  // A model may come from any system.
  if (path.posix.isAbsolute(location) || path.win32.isAbsolute(location)) return false
  return path.posix.normalize(location.replaceAll('\\', '/')).split('/', 1)[0] !== '..'
}

/**
 * The bytes of a model's file and of those that hold its numbers.
 * @throws ServingError INVALID_MODEL where the file can't be read
 */
export async function artifactBytes(file: string): Promise<number> {
  const read = await ModelFile.read(file, checkedBytes)
  const all = await modelBytes(read, Infinity)
  // A file that is missing is for the load to tell.
  return all < Infinity ? all : read.bytes
}

/**
 * The bytes of a model's file and of those that hold its numbers, where there are at most `limit` of them; Infinity
 * where there are more, or where they can't be counted. A file that was not looked into is taken to hold all.
 */
export async function modelBytes(file: ModelFile, limit: number): Promise<number> {
  try {
    let { bytes } = file
    for (const location of file.externalData)
      bytes += (await stat(path.resolve(file.path, '..', location))).size
    return bytes > limit ? Infinity : bytes
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) return Infinity
    throw error
  }
}
