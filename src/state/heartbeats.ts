import { constants, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isPlainObject } from '../options.js'
import { writeAtomically } from './atomic-file.js'

export interface FailedVersion {
  /** The pending change that asked for it, if one did. */
  readonly change?: string
  readonly code: string
  readonly message: string
}

/** What a replica has of one model. */
export interface ReplicaModel {
  readonly current?: string
  /** Versions that can serve now. */
  readonly loaded: readonly string[]
  /** Why a version that was asked for could not be loaded, by version. */
  readonly failed: Readonly<Record<string, FailedVersion>>
}

/** What a replica says of itself, again and again. */
export interface Heartbeat {
  readonly id: string
  readonly pid: number
  readonly host: string
  readonly at: string
  /** The generation of the desired state that it has seen. */
  readonly generation: number
  readonly models: Readonly<Record<string, ReplicaModel>>
}

/** Whether a failure is of this change, and would come again. */
export function isFinal(failure: FailedVersion | undefined, change: string): boolean {
  // A folder that all are to have may come to some of them later.
  return failure?.change === change && failure.code !== 'VERSION_NOT_FOUND'
}

/** Files of the dead are removed after this many times of what makes a replica dead. */
const removedAfter = 60

/**
 * The heartbeats of the replicas on a folder, a file each. Who is alive is judged by the times that the file system
 * has of the files, all of one clock: those of the machines need not agree.
 */
export class Heartbeats {
  readonly #folder: string
  readonly #file: string
  #isEnded = false

  /** @param deadAfterMs how old the heartbeat of a replica may be that still counts */
  constructor(
    folder: string,
    readonly id: string,
    private readonly deadAfterMs: number,
  ) {
    this.#folder = join(folder, 'replicas')
    this.#file = join(this.#folder, `${id}.json`)
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
  }

  async beat(generation: number, models: Heartbeat['models']): Promise<void> {
    if (this.#isEnded) return
    const { id } = this
    const { pid } = process
    const at = new Date().toISOString()
    const heartbeat: Heartbeat = { id, pid, host: hostname(), at, generation, models }
    await writeAtomically(this.#file, JSON.stringify(heartbeat), false)
    await this.#removeIfEnded() // meanwhile
  }

  /** The replicas that live, this one included once it has beaten. */
  async live(): Promise<Heartbeat[]> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.json'))
    const found = await Promise.all(names.map((name) => this.#read(join(this.#folder, name))))
    const now = (await this.#now()) ?? Math.max(0, ...found.map((one) => one?.writtenAt ?? 0))
    const live: Heartbeat[] = []
    for (const one of found) {
      if (one === undefined) continue
      // One that is written in the future is as dead: the clock was put back since.
      const ageMs = Math.abs(now - one.writtenAt)
      if (ageMs <= this.deadAfterMs) live.push(one.heartbeat)
      else if (ageMs > removedAfter * this.deadAfterMs) await rm(one.file, { force: true })
    }
    return live
  }

  /** What time it is to the file system, by a byte written now; undefined where this replica can't, or has not beaten. */
  async #now(): Promise<number | undefined> {
    try {
      const file = await open(this.#file, constants.O_WRONLY | constants.O_APPEND)
      try {
        await file.write('\n')
        return (await file.stat()).mtimeMs
      } finally {
        await file.close()
      }
    } catch {
      return undefined
    }
  }

  /** Undefined for one that is gone, or no heartbeat. */
  async #read(file: string) {
    try {
      const { mtimeMs } = await stat(file)
      const heartbeat: unknown = JSON.parse(await readFile(file, 'utf8'))
      return isHeartbeat(heartbeat) ? { file, writtenAt: mtimeMs, heartbeat } : undefined
    } catch {
      return undefined
    }
  }

  /** This replica is no more: none waits for it. */
  async end(): Promise<void> {
    this.#isEnded = true
    await this.#removeIfEnded().catch(() => {})
  }

  async #removeIfEnded(): Promise<void> {
    if (this.#isEnded) await rm(this.#file, { force: true })
  }
}

function isHeartbeat(value: unknown): value is Heartbeat {
  return (
    isPlainObject(value) &&
    typeof value.id === 'string' &&
    isPlainObject(value.models) &&
    Object.values(value.models).every(
      (model) => isPlainObject(model) && Array.isArray(model.loaded) && isPlainObject(model.failed),
    )
  )
}
