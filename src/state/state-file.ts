import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { writeAtomically } from './atomic-file.js'
import { nothingDesired, parseDesiredState, type DesiredState } from './desired-state.js'
import { StateLock } from './state-lock.js'

/** The file that the replicas share. Any process may read it at any time; who changes it holds a lock. */
export class StateFile {
  readonly path: string
  readonly #lock: StateLock

  constructor(
    private readonly folder: string,
    clock: Clock,
  ) {
    this.path = join(folder, 'state.json')
    this.#lock = new StateLock(join(folder, 'state.lock'), clock)
  }

  /** Makes the folder where it is not there. */
  async open(): Promise<void> {
    await mkdir(this.folder, { recursive: true })
  }

  /** @throws ServingError INVALID_CONFIG for a file that is broken or can't be read */
  async read(): Promise<DesiredState> {
    let text: string
    try {
      text = await readFile(this.path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothingDesired
      throw asServingError(error, 'INVALID_CONFIG', 'the state file could not be read')
    }
    return parseDesiredState(text)
  }

  /**
   * Changes the state, one process at a time.
   * @param next gives the next generation, or throws where the change does not fit; what it gives back as it was is not
   *   written; it may be called again
   * @throws ServingError CONFLICT for a file that can't be written, or is broken, which is left as it is; what `next`
   *   throws
   */
  async change(next: (state: DesiredState) => DesiredState): Promise<DesiredState> {
    try {
      for (;;) {
        const changed = await this.#lock.hold(async (isHeld) => {
          const before = await this.sound()
          const state = next(before)
          if (state === before) return state
          if (!(await isHeld())) return undefined
          await writeAtomically(this.path, `${JSON.stringify(state, undefined, 2)}\n`, true)
          return state
        })
        if (changed !== undefined) return changed
      }
    } catch (error) {
      throw asServingError(error, 'CONFLICT', 'the state file could not be changed')
    }
  }

  /** What a change starts from. @throws ServingError CONFLICT for a file that is broken or can't be read */
  async sound(): Promise<DesiredState> {
    try {
      return await this.read()
    } catch (error) {
      throw new ServingError('CONFLICT', `${asServingError(error).message}: mend or remove it first.`, {
        cause: error,
      })
    }
  }
}
