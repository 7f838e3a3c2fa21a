import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ServingError } from '../errors.js'
import { inspectedBytes, type Inspection } from './inspection.js'
import { ModelFile } from './model-file.js'

interface Inspected {
  readonly inspection?: Inspection | undefined
  close(): Promise<void>
}

/**
 * The artifact as the first of its sessions had it. Those that are opened later are of the same bytes, or one version
 * would give two answers.
 */
export class SeenArtifact {
  #inspection: Inspection | undefined
  #state: string | undefined

  /**
   * Opens a session, the first or a further one.
   * @param path of the artifact
   * @throws ServingError INVALID_MODEL where the files have other content by now; what `open` throws
   */
  async session<S extends Inspected>(path: string, open: () => Promise<S>): Promise<S> {
    const first = this.#state
    const state = await this.#stateNow(path)
    if (first !== undefined && state !== first) {
      const sha256 = await (await ModelFile.read(path, inspectedBytes)).sha256()
      if (sha256 === undefined || sha256 !== this.#inspection?.sha256) throw changedSince(path)
    }
    const session = await open()
    const { inspection } = session
    if (first === undefined) {
      this.#inspection = inspection
      // Only now it is known which files there are.
      this.#state = inspection?.externalData.length ? await this.#stateNow(path) : state
      return session
    }
    if (inspection !== undefined && inspection.sha256 !== this.#inspection?.sha256) {
      await session.close() // it changed while it was opened
      throw changedSince(path)
    }
    this.#state = state
    return session
  }

  /** What changes with the content of its files, whatever time they claim. What can't be read is for who opens it to tell. */
  async #stateNow(path: string): Promise<string> {
    const numbers = this.#inspection?.externalData ?? []
    const files = [path, ...numbers.map((location) => resolve(path, '..', location))]
    return (await Promise.all(files.map(stateOf))).join(' ')
  }
}

function stateOf(path: string): Promise<string> {
  return stat(path, { bigint: true }).then(
    ({ size, ino, mtimeNs, ctimeNs }) => [size, ino, mtimeNs, ctimeNs].join(' '),
    () => 'unreadable',
  )
}

/** Of files that a version was served with. */
export function changedSince(path: string): ServingError {
  return new ServingError(
    'INVALID_MODEL',
    `${path} has changed since it was loaded: give new files a version of their own, or unload the version first to have it read anew.`,
  )
}
