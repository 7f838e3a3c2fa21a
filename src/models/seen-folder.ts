import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { changedSince } from '../execution/seen-artifact.js'
import { hashFile } from '../execution/model-file.js'

/** Files that are larger are told apart by their size and time alone: to read one twice may take longer than its load. */
const hashedBytes = 256 * 1024 * 1024

/**
 * What lay in the folder of a version of code, or in its one file, when the code first had it. Later loads find the same
 * there, or one version would give two answers. Files that come are not looked at: code may keep some of its own there.
 */
export class SeenFolder {
  #contents: ReadonlyMap<string, string> | undefined

  /**
   * @param path of the folder or the file
   * @throws ServingError INVALID_MODEL where a file has other content by now, or is gone; what `load` throws
   */
  async load<T>(path: string, load: () => Promise<T>): Promise<T> {
    const contents = await contentsOf(path)
    for (const [file, content] of this.#contents ?? [])
      if (contents.get(file) !== content) throw changedSince(join(path, file))
    const loaded = await load()
    this.#contents ??= contents
    return loaded
  }
}

/** What tells the content of each file, by its name relative to the folder. What can't be read is for the code to tell. */
async function contentsOf(path: string): Promise<ReadonlyMap<string, string>> {
  const contents = new Map<string, string>()
  for (const file of await filesOf(path)) {
    const content = await contentOf(join(path, file)).catch(() => undefined)
    if (content !== undefined) contents.set(file, content)
  }
  return contents
}

/** Files of a folder and those below it; the file itself, under no name, where it is one. */
async function filesOf(path: string): Promise<readonly string[]> {
  try {
    const names = await readdir(path, { recursive: true })
    // Kubernetes keeps what its links lead to in such folders.
    return names.filter((name) => !name.startsWith('..')).sort()
  } catch {
    return ['']
  }
}

/** Undefined of what is no file. */
async function contentOf(path: string): Promise<string | undefined> {
  const found = await stat(path)
  if (!found.isFile()) return undefined
  if (found.size > hashedBytes) return `${found.size} ${found.mtimeMs}`
  const hash = createHash('sha256')
  await hashFile(path, hash)
  return hash.digest('hex')
}
