import type { Clock } from '../clock.js'
import { fingerprintOf } from './fingerprint.js'

export interface SettlingOptions {
  readonly clock: Clock
  readonly stableMs: number
  readonly completeMarker: string | undefined
}

/** One look at what lies at a path. */
export interface Look {
  readonly fingerprint: string
  /** Whether nobody is still writing to it. */
  readonly isSettled: boolean
}

/**
 * Tells what has come to rest from what is still being copied: its fingerprint has been the same for some time, or a
 * marker says that it is complete.
 */
export class Settling {
  readonly #options: SettlingOptions
  readonly #seen = new Map<string, { readonly fingerprint: string; readonly since: number }>()

  constructor(options: SettlingOptions) {
    this.#options = options
  }

  /**
   * @param isMarkable whether a marker may be expected of it
   * @param isStart whether it may have been so before it could be seen: then the file system tells for how long. Later its
   *   word is not taken, since its clock need not be ours
   * @returns undefined where nothing is there, or it changes right now
   */
  async look(path: string, isMarkable = false, isStart = false): Promise<Look | undefined> {
    const { clock, stableMs, completeMarker } = this.#options
    const found = await fingerprintOf(path, completeMarker)
    if (found === undefined) {
      this.#seen.delete(path)
      return undefined
    }
    const { digest: fingerprint, changedAtMs, isMarked } = found
    if (isMarkable && completeMarker !== undefined) return { fingerprint, isSettled: isMarked }
    const now = clock.now()
    let seen = this.#seen.get(path)
    if (seen?.fingerprint !== fingerprint) {
      const ageMs = seen === undefined && isStart ? Math.max(0, Date.now() - changedAtMs) : 0
      this.#seen.set(path, (seen = { fingerprint, since: now - ageMs }))
    }
    return { fingerprint, isSettled: now - seen.since >= stableMs }
  }
}
