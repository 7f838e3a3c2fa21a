import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { messageOf, ServingError } from '../../errors.js'

/** A part that nobody has written to for this long was left by a process that ended: another may go on with it. */
const abandonedAfterMs = 120_000

/** Marks the parts that this process writes: process ids alone are not unique where containers share a volume. */
const mine = `${process.pid}-${randomBytes(6).toString('hex')}`

/**
 * Artifacts on disk by the SHA-256 of their content. Several processes may share one: a file appears under its name
 * only when it is whole.
 */
export class ArtifactCache {
  /** The state of files whose content was read and is right: while it stays, they are not read again. */
  readonly #verified = new Map<string, string>()

  /** @param stateDir Default: the user's cache folder, as the platform has it. */
  constructor(private readonly stateDir: string = userCacheDir()) {}

  get #dir(): string {
    return join(this.stateDir, 'artifacts')
  }

  /** Where an artifact lies once it is there. */
  fileOf(sha256: string): string {
    return join(this.#dir, `${sha256}.onnx`)
  }

  /** The artifact's file, where it is there and its content is what it should be; one that is not is removed. */
  async find(sha256: string): Promise<string | undefined> {
    const file = this.fileOf(sha256)
    const state = await stateOf(file)
    if (state === undefined) return undefined
    if (this.#verified.get(sha256) === state) return file
    if ((await sha256Of(file)) === sha256) {
      this.#verified.set(sha256, state)
      return file
    }
    await rm(file, { force: true, recursive: true }) // it may be a folder
    return undefined
  }

  /** @throws ServingError SOURCE_UNAVAILABLE where it can't be written */
  async put(sha256: string, bytes: Uint8Array): Promise<string> {
    const part = join(this.#dir, `${sha256}.${mine}-${randomBytes(4).toString('hex')}.partial`)
    await this.#writing(async () => {
      await writeFile(part, bytes, { mode: 0o600 })
    })
    return this.keep(sha256, part)
  }

  /**
   * The file to fetch into, of this process alone: its own of an earlier attempt, or one that another left behind, whose
   * bytes are then the beginning.
   * @throws ServingError SOURCE_UNAVAILABLE where the folder can't be written
   */
  async part(sha256: string): Promise<string> {
    const own = `${sha256}.${mine}.partial`
    const file = join(this.#dir, own)
    await this.#writing(async () => {
      const parts = (await readdir(this.#dir)).filter(
        (name) => name.startsWith(`${sha256}.`) && name.endsWith('.partial'),
      )
      if (parts.includes(own)) return
      for (const name of parts) {
        const left = join(this.#dir, name)
        const isAbandoned = await stat(left).then(
          ({ mtimeMs }) => Date.now() - mtimeMs > abandonedAfterMs,
          () => false,
        )
        // Of several that want it one renames it.
        if (isAbandoned && (await renamed(left, file))) return
      }
    })
    return file
  }

  /** Gives a whole part its name. */
  async keep(sha256: string, part: string): Promise<string> {
    const file = this.fileOf(sha256)
    await this.#writing(() => rename(part, file))
    return file
  }

  async #writing(write: () => Promise<void>): Promise<void> {
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 })
      await write()
    } catch (error) {
      const { code = messageOf(error) } = error as NodeJS.ErrnoException
      throw new ServingError(
        'SOURCE_UNAVAILABLE',
        `the artifact could not be kept on disk (${code}): give a stateDir that can be written and has room.`,
        { cause: error },
      )
    }
  }
}

/** What changes with a file's content, whatever time it claims; undefined where it is not there. */
function stateOf(file: string): Promise<string | undefined> {
  return stat(file, { bigint: true }).then(
    ({ size, ino, mtimeNs, ctimeNs }) => [size, ino, mtimeNs, ctimeNs].join(' '),
    () => undefined,
  )
}

/** SHA-256 of a file's content, in hexadecimal; undefined where it can't be read. */
async function sha256Of(file: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
    return hash.digest('hex')
  } catch {
    return undefined
  }
}

function renamed(from: string, to: string): Promise<boolean> {
  return rename(from, to).then(
    () => true,
    () => false,
  )
}

function userCacheDir(): string {
  const home = homedir()
  switch (process.platform) {
    case 'darwin':
      return join(home, 'Library', 'Caches', 'mlserving')
    case 'win32':
      return join(home, 'AppData', 'Local', 'mlserving')
    default:
      return join(home, '.cache', 'mlserving')
  }
}
