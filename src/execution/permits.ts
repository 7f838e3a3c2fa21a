import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/**
 * The right to compute now. A process has as many permits as cores; a run takes as many as it has threads.
 * The count lives in shared memory, so that a worker takes and returns permits without asking the main thread.
 */
export class Permits {
  /** [available, total, the thread or ticket whose turn it is to take, or 0, the last ticket] */
  readonly #words: Int32Array

  constructor(readonly shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
  }

  static of(total: number): Permits {
    const permits = new Permits(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT))
    permits.#words.set([total, total])
    return permits
  }

  get total(): number {
    return Atomics.load(this.#words, 1)
  }

  get available(): number {
    return Atomics.load(this.#words, 0)
  }

  /**
   * Changes how many permits there are. Those that are out stay out: where there are more of them than the new
   * total, none can be taken until enough are back.
   */
  resize(total: number): void {
    // The difference, not the value: others take and return permits, or resize, at the same time.
    const before = Atomics.exchange(this.#words, 1, total)
    this.release(total - before)
  }

  /**
   * Blocks the calling thread until `count` permits are free, or all there are where there are fewer, and takes
   * them. For worker threads only.
   *
   * One thread at a time waits for permits, and the others for their turn: else runs of one thread would pass a
   * run of several again and again.
   *
   * @param thread the calling thread's id, which is not 0
   * @returns how many were taken, and are to be returned
   */
  acquire(count: number, thread: number): number {
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, 2, 0, thread)
      if (holder === 0) break
      Atomics.wait(this.#words, 2, holder)
    }
    for (;;) {
      const available = this.available
      // Read anew each time: a change of the total changes what is available too, and so ends the wait.
      const wanted = Math.min(count, this.total)
      if (available >= wanted) {
        // Nobody else takes any in this turn.
        Atomics.sub(this.#words, 0, wanted)
        this.endTurn(thread)
        return wanted
      }
      Atomics.wait(this.#words, 0, available)
    }
  }

  /**
   * {@link acquire} for a thread that must not be blocked: whoever it is for waits in the same line. It holds no event
   * loop open, and has to be seen through once it is begun: what is taken is to be returned.
   *
   * @returns how many were taken
   */
  async take(count: number): Promise<number> {
    // Threads are numbered upwards from 0.
    const ticket = Atomics.sub(this.#words, 3, 1) - 1
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, 2, 0, ticket)
      if (holder === 0) break
      await this.#changeOf(2, holder)
    }
    for (;;) {
      const available = this.available
      const wanted = Math.min(count, this.total)
      if (available >= wanted) {
        Atomics.sub(this.#words, 0, wanted)
        this.endTurn(ticket)
        return wanted
      }
      await this.#changeOf(0, available)
    }
  }

  async #changeOf(word: number, from: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, word, from)
    if (wait.async) await wait.value
  }

  /** Ends the turn of a thread, if it has it: after it took its permits, or after it died. */
  endTurn(thread: number): void {
    if (Atomics.compareExchange(this.#words, 2, thread, 0) === thread) Atomics.notify(this.#words, 2, 1)
  }

  release(count: number): void {
    Atomics.add(this.#words, 0, count)
    Atomics.notify(this.#words, 0)
  }
}

const processPermits = Symbol.for('mlserving.permits')

/** The permits of this process, shared by every serving and every copy of the package in it. */
export function sharedPermits(): Permits {
  const shelf = globalThis as { [processPermits]?: SharedArrayBuffer | undefined }
  shelf[processPermits] ??= Permits.of(coreCount()).shared
  return new Permits(shelf[processPermits])
}

/** Says how many permits this process has, from now on. */
export function setPermits(total: number): void {
  sharedPermits().resize(total)
}

/** The cores this process may use: the cgroup's CPU quota where there is one, else what the system reports. */
export function coreCount(): number {
  const quota = cgroupQuota()
  const cores = availableParallelism()
  return quota === undefined ? cores : Math.max(1, Math.min(cores, Math.ceil(quota)))
}

/** The CPU quota in cores: cgroup v2's `cpu.max`, else v1's two files. */
function cgroupQuota(): number | undefined {
  const v2 = read('/sys/fs/cgroup/cpu.max')?.split(' ')
  const quota = Number(v2?.[0] ?? read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us'))
  const period = Number(v2?.[1] ?? read('/sys/fs/cgroup/cpu/cpu.cfs_period_us'))
  return quota > 0 && period > 0 ? quota / period : undefined
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined // no such limit on this system
  }
}
