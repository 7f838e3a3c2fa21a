import { createHash } from 'node:crypto'
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** What tells whether the files of a version changed, without reading them. */
export interface Fingerprint {
  /** Of all files and folders: name, size, time of the last change, and where links lead. */
  readonly digest: string
  /** When anything was last changed, in milliseconds since 1970, by the file system's word. */
  readonly changedAtMs: number
  /** Whether the file that says so is there. */
  readonly isMarked: boolean
}

/** Deeper folders are not looked into. */
const mostDepth = 16

/**
 * The fingerprint of a file, or of a folder with all that is in it; undefined where it is not there, or changes while it is
 * looked at.
 * @param marker name of a file of the folder that is not counted in: whoever copies the folder writes it last
 */
export async function fingerprintOf(path: string, marker?: string): Promise<Fingerprint | undefined> {
  const walk = new Walk()
  try {
    await walk.see(path, '')
    const isMarked = marker !== undefined && (await exists(join(path, marker)))
    const lines = walk.lines.filter(({ name }) => marker === undefined || name !== `/${marker}`)
    const hash = createHash('sha256')
    for (const { name, facts } of lines) hash.update(`${name}\0${facts}\n`)
    return { digest: hash.digest('base64'), changedAtMs: walk.changedAtMs, isMarked }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    return undefined
  }
}

class Walk {
  readonly lines: { readonly name: string; readonly facts: string }[] = []
  changedAtMs = 0
  /** Folders that links led to: they may lead in a circle. */
  readonly #linked = new Set<string>()

  async see(path: string, name: string, depth = 0): Promise<void> {
    const entry = await lstat(path)
    const isLink = entry.isSymbolicLink()
    if (isLink && depth > 0 && !(await exists(path))) {
      // It leads nowhere, and may do so for good: an editor's lock, for instance.
      this.changedAtMs = Math.max(this.changedAtMs, entry.ctimeMs)
      this.lines.push({ name, facts: `nothing at ${await readlink(path)}` })
      return
    }
    // Of the folder itself any of its parents may be a link.
    const real = isLink || depth === 0 ? await realpath(path) : ''
    const found = await stat(path)
    // The time that a file claims may be set; the one of its last change may not.
    this.changedAtMs = Math.max(this.changedAtMs, found.ctimeMs)
    if (!found.isDirectory()) {
      this.lines.push({ name, facts: `${found.size} ${found.mtimeMs} ${real}` })
      return
    }
    this.lines.push({ name, facts: real })
    if (depth === mostDepth || (isLink && this.#linked.has(real))) return
    if (isLink) this.#linked.add(real)
    for (const entry of (await readdir(path)).sort()) {
      // Kubernetes keeps what its links lead to in such folders.
      if (entry.startsWith('..')) continue
      await this.see(join(path, entry), `${name}/${entry}`, depth + 1)
    }
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
