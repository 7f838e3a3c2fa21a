import { randomUUID } from 'node:crypto'
import { link, open, readFile, rename, rm } from 'node:fs/promises'
import type { Clock } from '../clock.js'
import { ServingError } from '../errors.js'

/** Who holds the lock does so for some milliseconds: one that stays the same for this long has a dead holder. */
const staleAfterMs = 5_000
/** How long somebody waits for the lock, the break of a stale one included. */
const longestWaitMs = 15_000
const retryMs = 15

/**
 * A lock that processes share, on one machine or several: a file that only one can create.
 *
 * Whether its holder is dead is judged by watching it, not by its time: the clocks of two machines need not agree.
 */
export class StateLock {
  constructor(
    private readonly path: string,
    private readonly clock: Clock,
  ) {}

  /**
   * Runs `operation` while no other process does.
   * @param operation is given what says whether the lock is still held: one that was taken for dead, since it stood
   *   still for long, must not write
   * @throws ServingError CONFLICT where the lock could not be had in time
   */
  async hold<T>(operation: (isHeld: () => Promise<boolean>) => Promise<T>): Promise<T> {
    const token = randomUUID()
    await this.#take(token)
    const isHeld = async () => (await this.#holder()) === token
    try {
      return await operation(isHeld)
    } finally {
      if (await isHeld()) await rm(this.path, { force: true })
    }
  }

  async #take(token: string): Promise<void> {
    const began = this.clock.now()
    let seen: { readonly holder: string; readonly since: number } | undefined
    while (!(await this.#create(token))) {
      const holder = await this.#holder()
      const now = this.clock.now()
      if (holder === undefined || holder !== seen?.holder)
        seen = holder === undefined ? undefined : { holder, since: now }
      else if (now - seen.since >= staleAfterMs) await this.#break(holder)
      if (now - began >= longestWaitMs) {
        throw new ServingError('CONFLICT', 'the state of the replicas is being changed by others; try again.')
      }
      await new Promise<void>((resolve) => void this.clock.setTimer(resolve, retryMs * (1 + Math.random())))
    }
  }

  async #create(token: string): Promise<boolean> {
    try {
      const file = await open(this.path, 'wx')
      // One that dies, or fails, in between leaves an empty lock, which is stale in time.
      await file.writeFile(token).finally(() => file.close())
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw error
    }
  }

  /** The token of who holds it: empty for one that died before it had written it. */
  async #holder(): Promise<string | undefined> {
    return readFile(this.path, 'utf8').catch(() => undefined)
  }

  /**
   * Takes a stale lock away. Two may do so at once: what the second takes may be the lock of a living process, which
   * it then puts back; should a third have come meanwhile, that living one sees before it writes that it holds no more.
   */
  async #break(staleHolder: string): Promise<void> {
    const taken = `${this.path}.${randomUUID()}.tmp`
    try {
      await rename(this.path, taken)
    } catch {
      return // somebody else did, or its holder lives after all
    }
    const holder = await readFile(taken, 'utf8').catch(() => staleHolder)
    if (holder !== staleHolder) await link(taken, this.path).catch(() => {})
    await rm(taken, { force: true })
  }
}
