import { systemClock, type Clock } from '../clock.js'
import { ServingError } from '../errors.js'
import { closed } from './names.js'

export interface ResidencyLimits {
  /** Models that may be loaded, or being loaded, at once. Default: any number. */
  readonly maxLoadedModels?: number | undefined
  /** Bytes that loaded artifacts may take together. Default: any number. */
  readonly memoryLimitBytes?: number | undefined
}

/** A model, as far as it takes room. */
export interface Resident {
  /** Whether a version of it is loaded. */
  readonly isLoaded: boolean
  /** Bytes of its loaded versions. */
  readonly residentBytes: number
  /** Whether it may have to make room, once nobody uses it. */
  readonly isEvictable: boolean
  /** Whether it is used, waited for, or being changed. */
  readonly isBusy: boolean
  /** When it was last used, as {@link Residency} counts. */
  lastUse: number
  /** Unloads it, unless it is used by then. Never rejects. */
  evict(): Promise<void>
}

/** There is no room for another model. */
export class NoRoom extends ServingError<'MODEL_NOT_READY'> {
  constructor(message: string) {
    super('MODEL_NOT_READY', message, { headers: { 'retry-after': '1' } })
  }
}

interface WaitingLoad {
  readonly label: string
  readonly resident: Resident
  readonly peakBytes: number
  admit(): void
  refuse(error: ServingError): void
}

/** How long a load waits for models that are used to be so no longer. */
export const longestWaitMs = 10_000

/**
 * What an artifact takes while a session of it is created, by its size: the file is read and its numbers are copied.
 * Afterwards it is taken once.
 */
const creationPeak = 2

/**
 * Which models are loaded, within limits of their number and size. A load is let in once there is room for it, first
 * come, first served; models that may have to go and that nobody uses make it, the least recently used first.
 */
export class Residency {
  readonly #maxModels: number
  readonly #limitBytes: number
  readonly #clock: Clock
  /** Models that are loaded or being loaded, and such as were. */
  readonly #residents = new Set<Resident>()
  /** Bytes that loads under way take at their peak. */
  readonly #loads = new Map<Resident, number>()
  readonly #waiting: WaitingLoad[] = []
  readonly #evicting = new Set<Resident>()
  #uses = 0
  #isClosed = false

  constructor(
    { maxLoadedModels = Infinity, memoryLimitBytes = Infinity }: ResidencyLimits = {},
    clock: Clock = systemClock,
  ) {
    this.#maxModels = maxLoadedModels
    this.#limitBytes = memoryLimitBytes
    this.#clock = clock
  }

  get isLimited(): boolean {
    return this.#maxModels < Infinity || this.#limitBytes < Infinity
  }

  /** Nobody uses a model any more, for now. */
  used(resident: Resident): void {
    resident.lastUse = ++this.#uses
    this.review()
  }

  /**
   * Waits for room for a load, for at most {@link longestWaitMs}; not at all where there can be none. A model has one
   * load at a time.
   * @param label `model@version`, for messages
   * @param bytes of the artifact, in all its sessions
   * @returns ends the load, be it a success or not
   * @throws ServingError MODEL_NOT_READY where there is no room, CLOSED
   */
  async admit(resident: Resident, label: string, bytes: number): Promise<() => void> {
    if (this.#isClosed) throw closed()
    await new Promise<void>((resolve, reject) => {
      const load: WaitingLoad = {
        label,
        resident,
        peakBytes: creationPeak * bytes,
        admit: () => {
          timer.clear()
          resolve()
        },
        refuse: (error) => {
          timer.clear()
          reject(error)
        },
      }
      const timer = this.#clock.setTimer(() => this.#giveUp(load), longestWaitMs)
      this.#waiting.push(load)
      this.review()
    })
    return () => {
      this.#loads.delete(resident)
      if (!resident.isLoaded) this.#residents.delete(resident)
      this.used(resident)
    }
  }

  /** Lets in those that there is room for; called where there may be more. */
  review(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { resident } = next
      if (this.#fits(next, () => false)) {
        this.#waiting.shift()
        this.#residents.add(resident)
        this.#loads.set(resident, next.peakBytes)
        next.admit()
      } else if (this.#fits(next, (each) => each !== resident && each.isEvictable)) {
        this.#makeRoom(next)
        return
      } else {
        this.#waiting.shift()
        next.refuse(new NoRoom(`${this.#taken(next)}, and nothing that is loaded may make room.`))
      }
    }
  }

  /** Refuses all that wait, and what comes later. */
  close(): void {
    this.#isClosed = true
    for (const load of this.#waiting.splice(0)) load.refuse(closed())
  }

  #giveUp(load: WaitingLoad): void {
    this.#waiting.splice(this.#waiting.indexOf(load), 1)
    const seconds = longestWaitMs / 1000
    load.refuse(
      new NoRoom(`${this.#taken(load)}, and what may make room was in use for ${seconds} s. Try again.`),
    )
    this.review()
  }

  /** Whether there is room for a load beside all that is loaded or being loaded, without those that are gone. */
  #fits({ resident, peakBytes }: WaitingLoad, isGone: (each: Resident) => boolean): boolean {
    let models = 1
    let bytes = peakBytes
    for (const each of this.#residents) {
      if (isGone(each)) continue
      const loading = this.#loads.get(each)
      bytes += each.residentBytes + (loading ?? 0)
      if (each !== resident && (each.isLoaded || loading !== undefined)) models++
    }
    return models <= this.#maxModels && bytes <= this.#limitBytes
  }

  /** Unloads as few models as make room, the least recently used first; none before they are enough. */
  #makeRoom(load: WaitingLoad): void {
    const gone = new Set(this.#evicting)
    const idle = [...this.#residents]
      .filter((each) => each !== load.resident && each.isEvictable && each.isLoaded && !each.isBusy)
      .sort((a, b) => a.lastUse - b.lastUse)
    for (const each of idle) {
      if (this.#fits(load, (one) => gone.has(one))) break
      gone.add(each)
    }
    if (!this.#fits(load, (one) => gone.has(one))) return
    for (const each of gone) if (!this.#evicting.has(each)) this.#evict(each)
  }

  #evict(resident: Resident): void {
    this.#evicting.add(resident)
    void resident.evict().then(() => {
      this.#evicting.delete(resident)
      this.review()
    })
  }

  #taken({ label, resident, peakBytes }: WaitingLoad): string {
    const others = [...this.#residents].filter((each) => each !== resident)
    const models = others.filter((each) => each.isLoaded || this.#loads.has(each)).length
    const bytes = [...this.#residents].reduce(
      (sum, each) => sum + each.residentBytes + (this.#loads.get(each) ?? 0),
      0,
    )
    const reasons: string[] = []
    if (models + 1 > this.#maxModels)
      reasons.push(`${models} other models are loaded (maxLoadedModels: ${this.#maxModels})`)
    if (bytes + peakBytes > this.#limitBytes) {
      reasons.push(
        `its load takes ${peakBytes} bytes beside the ${bytes} that are taken (memoryLimitBytes: ${this.#limitBytes})`,
      )
    }
    return `there is no room for ${label}: ${reasons.join(', ')}`
  }
}
