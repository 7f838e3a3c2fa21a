import { stat } from 'node:fs/promises'
import { ServingError } from '../errors.js'
import { inspectedBytes, type Inspection } from './inspection.js'
import { ModelFile } from './model-file.js'

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
   * @throws ServingError INVALID_MODEL where the file has other content by now; what `open` throws
   */
  async session<S extends { readonly inspection?: Inspection | undefined }>(
    open: () => Promise<S>,
  ): Promise<S> {
    const state = await stateOf(this.path)
    const isFirst = this.#state === undefined
    if (!isFirst && state !== this.#state) await this.#compare()
    const session = await open()
    this.#state = state
    if (isFirst) this.#inspection = session.inspection
    return session
  }

  /** The file was written, replaced or touched: its content tells which. */
  async #compare(): Promise<void> {
    const sha256 = this.#inspection?.sha256
    const file = await ModelFile.read(this.path, inspectedBytes)
    if (sha256 !== undefined && (await file.sha256()) === sha256) return
    throw new ServingError(
      'INVALID_MODEL',
      `${this.path} has changed since it was loaded: give new files a version of their own.`,
    )
  }
}

/** What changes with a file's content, whatever time it claims. What can't be read is for who opens it to tell. */
function stateOf(path: string): Promise<string> {
  return stat(path, { bigint: true }).then(
    ({ size, ino, mtimeNs, ctimeNs }) => [size, ino, mtimeNs, ctimeNs].join(' '),
    () => 'unreadable',
  )
}
