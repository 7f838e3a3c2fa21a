import { lstat, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf, ServingError } from '../errors.js'

/** What a source must hold to be a version: an `.onnx` file, or for the user's own code any folder. */
export type SourceKind = 'onnx' | 'custom'

/** A version as it lies on disk. */
export interface VersionSource {
  /** True of one that does not: it is code, or lies on another server. */
  readonly hasNoFiles?: true
  readonly version: string
  /** Absolute folder of the version: its `model.json`, tokenizer and the like. */
  readonly dir: string
  /** Absolute path of the `.onnx` file; of a custom model, of its folder or its one file. */
  readonly file: string
  /** Absolute path of the version's own `model.json`, which need not be there. */
  readonly config?: string
}

/** A version that does not lie on disk. */
export function withoutFiles(version: string): VersionSource {
  return { version, dir: resolve('.'), file: resolve('.'), hasNoFiles: true }
}

/** A name that is safe in paths, URLs and metric labels. */
export const namePattern = /^[A-Za-z0-9][\w.-]{0,127}$/

/** What tools copy into, before they give it its name. */
const temporaryPattern = /\.(?:tmp|partial)$/

/**
 * The models of a repository folder: `<repository>/<model>/<version>/model.onnx`. Names that begin with a dot, end with
 * `.tmp` or `.partial`, or do not fit {@link namePattern}, and files, are passed over.
 * @returns the absolute folder of each model, by name, sorted
 * @throws ServingError INVALID_OPTIONS when the folder is not there or can't be read
 */
export async function listModels(repository: string): Promise<Map<string, string>> {
  const root = resolve(repository)
  const names = await listFolders(root).catch((error: unknown) => {
    throw new ServingError(
      'INVALID_OPTIONS',
      `the repository ${root} could not be read: ${messageOf(error)}. It should hold <model>/<version>/model.onnx.`,
      { cause: error },
    )
  })
  return new Map(names.map((name) => [name, join(root, name)]))
}

/**
 * The versions of one model's source: a folder of version folders, or one `.onnx` file, which is version `"1"`. A link
 * `current` is the version that it leads to.
 * @param mayBeEmpty whether a folder without a version is an empty list
 * @throws ServingError INVALID_MODEL when there is nothing to load
 */
export async function listVersions(
  source: string,
  kind: SourceKind = 'onnx',
  mayBeEmpty = false,
): Promise<VersionSource[]> {
  const path = resolve(source)
  const found = await stat(path).catch((error: unknown) => {
    throw new ServingError('INVALID_MODEL', `${path} could not be read: ${messageOf(error)}`, {
      cause: error,
    })
  })
  if (found.isFile()) return [{ version: '1', dir: dirname(path), file: path }]

  const versions = new Map<string, VersionSource>()
  for (const name of await listFolders(path)) {
    if (name === 'latest') continue // the word for the version that serves
    const target = await linkTarget(path, name)
    const version = target === undefined ? name : basename(target)
    const dir = target ?? join(path, name)
    if (target !== undefined && versions.has(version)) continue
    const file = kind === 'onnx' ? await modelFile(dir) : dir
    if (file !== undefined) versions.set(version, { version, dir, file, config: join(dir, 'model.json') })
  }
  if (versions.size === 0 && !mayBeEmpty) {
    throw new ServingError(
      'INVALID_MODEL',
      `${path} holds no version; expected ${join(path, '<version>', kind === 'onnx' ? 'model.onnx' : '')}.`,
    )
  }
  return [...versions.values()]
}

/** The version that the link `current` in a model's folder leads to; undefined where there is none. */
export async function currentLink(source: string): Promise<string | undefined> {
  const target = await linkTarget(resolve(source), 'current')
  return target === undefined ? undefined : basename(target)
}

/** The folder that a model's `current` leads to, where it is a link to one with a version's name. */
async function linkTarget(path: string, name: string): Promise<string | undefined> {
  if (name !== 'current') return undefined
  const link = join(path, name)
  try {
    if (!(await lstat(link)).isSymbolicLink()) return undefined
    const target = await realpath(link)
    const version = basename(target)
    if (!isName(version) || version === 'current' || version === 'latest') return undefined
    return target
  } catch {
    return undefined // it leads nowhere, at this moment
  }
}

function isName(name: string): boolean {
  return namePattern.test(name) && !temporaryPattern.test(name)
}

/**
 * The version that a path is: an `.onnx` file, or a folder with one; for a custom model any file or folder.
 * @throws ServingError INVALID_MODEL
 */
export async function versionAt(source: string, version: string, kind: SourceKind): Promise<VersionSource> {
  const path = resolve(source)
  if (!(await isFolder(path))) {
    const [only] = await listVersions(path, kind)
    if (only !== undefined) return { ...only, version }
  }
  const file = kind === 'onnx' ? await modelFile(path) : path
  if (file !== undefined) return { version, dir: path, file, config: join(path, 'model.json') }
  throw new ServingError(
    'INVALID_MODEL',
    `${path} holds no .onnx file; expected ${join(path, 'model.onnx')}.`,
  )
}

/**
 * An error as clients may read it: a path inside the model is theirs to know, where the model lies on this machine
 * is not. Logs have the cause.
 */
export function forClients(error: ServingError, source: string | undefined, name: string): ServingError {
  if (source === undefined) return error
  const path = resolve(source)
  if (!error.message.includes(path)) return error
  return new ServingError(error.code, error.message.replaceAll(path, name), {
    cause: error,
    headers: error.headers,
  })
}

async function listFolders(path: string): Promise<string[]> {
  const names: string[] = []
  for (const name of await readdir(path)) {
    if (!isName(name)) continue
    if (await isFolder(join(path, name))) names.push(name)
  }
  return names.sort()
}

/** True for a folder; a link to one counts, since Kubernetes mounts volumes as links to dated folders. */
export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  )
}

/** `model.onnx`, or the only `.onnx` file there is. */
async function modelFile(dir: string): Promise<string | undefined> {
  const names = await readdir(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [] // it went this moment
    throw error
  })
  const files = names.filter((name) => name.endsWith('.onnx') && !name.startsWith('.'))
  const name = files.includes('model.onnx') ? 'model.onnx' : files.length === 1 ? files[0] : undefined
  return name === undefined ? undefined : join(dir, name)
}
