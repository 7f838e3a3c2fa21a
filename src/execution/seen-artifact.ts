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

  constructor(private readonly path: string) {}

  /**
   * Opens a session, the first or a further one.
   * @throws ServingError INVALID_MODEL where the files have other content by now; what `open` throws
   */
  async session<S extends Inspected>(open: () => Promise<S>): Promise<S> {
    const first = this.#state
    const state = await this.#stateNow()
    if (first !== undefined && state !== first) {
      const file = await ModelFile.read(this.path, inspectedBytes)
      this.#refuseOther(await file.sha256())
    }
    const session = await open()
    const { inspection } = session
    if (first === undefined) {
      this.#inspection = inspection
      // Only now it is known which files there are.
      this.#state = inspection?.externalData.length ? await this.#stateNow() : state
      return session
    }
    try {
      if (inspection !== undefined) this.#refuseOther(inspection.sha256) // it changed while it was opened
    } catch (error) {
      await session.close()
      throw error
    }
    this.#state = state
    return session
  }

  #refuseOther(sha256: string | undefined): void {
    if (sha256 !== undefined && sha256 === this.#inspection?.sha256) return
    throw changedSince(this.path)
  }

  /** What changes with the content of its files, whatever time they claim. What can't be read is for who opens it to tell. */
  async #stateNow(): Promise<string> {
    const numbers = this.#inspection?.externalData ?? []
    const files = [this.path, ...numbers.map((location) => resolve(this.path, '..', location))]
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
