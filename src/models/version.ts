import type { FoundSize } from '../batching/batch-plan.js'
import { systemClock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import type { BatchSafety } from './batch-safety.js'
import { CutOff } from './cut-off.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import { LoadedVersion } from './loaded-version.js'
import { Lease } from './lease.js'
import { closed } from './names.js'
import { forClients, type VersionSource } from './repository.js'
import { settledAfterMs } from '../retry.js'
import type { TensorInterface } from './tensor-interface.js'
import type { VersionHost } from './version-host.js'
import { warmUp } from './warm-up.js'

export type VersionState = 'registered' | 'loading' | 'ready' | 'draining' | 'unloaded' | 'failed'

type DrainEnd = 'drained' | 'cancelled' | 'cut off'

/** Whether a version is in memory, or about to be. */
export function isLoaded({ state }: ModelVersion): boolean {
  return state === 'loading' || state === 'ready' || state === 'draining'
}

/** One version of a model: its artifact, its state, and the leases on it. */
export class ModelVersion {
  readonly label: string
  /** Whether its files are no longer those that were loaded: what watches them says so. */
  changed = false
  #state: VersionState = 'registered'
  #reason: ServingError | undefined
  #loadTimeMs: number | undefined
  #loaded: LoadedVersion | undefined
  #leases = 0
  #deaths = 0
  /** When it last had no session any more, all having ended by themselves. */
  #lastDeathAt = -Infinity
  #loading: Promise<void> | undefined
  #unloading: Promise<void> | undefined
  readonly #cutOff: CutOff
  /** Told once the next load or unload has ended. */
  readonly #awaiting = new Set<() => void>()
  /** Bytes of the artifact's files, where they were counted. */
  artifactBytes = 0
  /** Sessions of it while it is being freed. */
  #leavingInstances = 0
  /** Set while a drain waits for leases. */
  #endDrain: ((end: DrainEnd) => void) | undefined

  constructor(
    model: string,
    readonly source: VersionSource,
    private readonly host: VersionHost,
  ) {
    this.label = `${model}@${source.version}`
    this.#cutOff = host.cutOff ?? new CutOff()
  }

  get name(): string {
    return this.source.version
  }

  get state(): VersionState {
    return this.#state
  }

  /** Why the last load failed, why a ready version can no longer serve, or why it can't until its session is back. */
  get reason(): ServingError | undefined {
    return this.#reason
  }

  /** What metrics read. */
  get status() {
    const { batcher, cache, model } = this.#loaded ?? {}
    return {
      version: this.name,
      state: this.#state,
      queueRows: batcher?.waitingRows ?? 0,
      inFlight: this.#leases,
      batch: this.batchSizes[0],
      instances: model === undefined ? 0 : (model.session?.instances ?? 1),
      deaths: this.#deaths,
      changed: this.changed,
      ...(cache !== undefined && { cache: cache.counts }),
    }
  }

  /** The batch sizes that were found to pay, by the signature of the inputs, the one that ran last first. */
  get batchSizes(): FoundSize[] {
    return this.#loaded?.batchSizes ?? []
  }

  /** Hands on what was learnt of the artifact so far. */
  learn(): void {
    this.#loaded?.learn()
  }

  /** Requests that hold the version. */
  get leases(): number {
    return this.#leases
  }

  /** Rows that wait for a run. */
  get waitingRows(): number {
    return this.#loaded?.batcher.waitingRows ?? 0
  }

  get loadTimeMs(): number | undefined {
    return this.#loadTimeMs
  }

  /** Whether it is in memory, be it on its way out. */
  get isLoaded(): boolean {
    return this.#loaded !== undefined || this.#state === 'draining'
  }

  /** Bytes of the artifact in all sessions of it that there are now, where they were counted. */
  get residentBytes(): number {
    const { model } = this.#loaded ?? {}
    const instances = model === undefined ? this.#leavingInstances : (model.session?.instances ?? 1)
    return this.artifactBytes * instances
  }

  /** What runs the artifact while it is loaded. */
  get session(): LoadedModel['session'] {
    return this.#loaded?.model.session
  }

  /** What those who ask in tensors are told, while it is loaded; undefined of code. */
  get tensorInterface(): TensorInterface | undefined {
    return this.#loaded?.model.tensorInterface
  }

  /** Whether requests may share a run, as far as that is known, while it is loaded. */
  get batchSafety(): BatchSafety | undefined {
    return this.#loaded?.model.batchSafety?.verdict
  }

  /**
   * Loads the artifact; a load under way is joined, a ready version stays as it is, and a draining one that still
   * has leases serves again.
   *
   * @param onDied told once if the session ends by itself
   * @returns whether anything had to be loaded
   * @throws ServingError INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, RUNTIME_MISSING, WORKER_DIED
   */
  async load(onDied: (reason: ServingError) => void = () => {}): Promise<boolean> {
    if (this.#loaded !== undefined && this.#settleDrain('cancelled')) this.#state = 'ready'
    await this.#unloading
    if (this.#state === 'ready') return false
    await (this.#loading ??= this.#load(onDied).finally(() => (this.#loading = undefined)))
    return true
  }

  async #load(onDied: (reason: ServingError) => void): Promise<void> {
    this.#state = 'loading'
    this.#reason = undefined
    this.changed = false
    const started = performance.now()
    try {
      const model = await this.host.open(this.label, this.source, this.#observer)
      if (this.#cutOff.isOver) {
        await model.close()
        throw closed()
      }
      await this.#warmUp(model)
      const loaded = new LoadedVersion(this.name, this.label, model, this.host)
      this.#loaded = loaded
      this.#loadTimeMs = performance.now() - started
      this.#state = 'ready'
      this.host.onReady?.()
      void model.batchSafety?.settled.then((verdict) => {
        if (this.#loaded === loaded) this.#tell(verdict)
      })
      void model.died.then((reason) => {
        if (this.#fail(reason, loaded)) onDied(reason)
      })
    } catch (error) {
      this.#state = 'failed'
      const reason = this.#cutOff.isOver ? closed() : asServingError(error)
      this.#reason = forClients(reason, this.source.file, this.label)
      throw reason
    } finally {
      this.#changed()
    }
  }

  /** @throws ServingError INVALID_MODEL where a sample fails, CLOSED; the model is closed then */
  async #warmUp(model: LoadedModel): Promise<void> {
    const { warmUp: samples } = this.host
    if (samples === undefined || model.pipeline !== undefined) return
    const abort = new AbortController()
    try {
      await this.#cutOff.within(warmUp(this.label, model, samples, abort.signal))
    } catch (error) {
      abort.abort(error)
      await model.close(this.#cutOff.isOver)
      throw error
    }
  }

  /** Settles once the next load or unload of this version has ended, well or not. */
  nextChange(): Promise<void> {
    return new Promise((resolve) => this.#awaiting.add(resolve))
  }

  #changed(): void {
    for (const resolve of this.#awaiting) resolve()
    this.#awaiting.clear()
  }

  readonly #observer: LoadObserver = {
    warn: (message) => this.host.warn?.(`${this.label}: ${message}`),
    instanceDied: ({ message }) => {
      this.#deaths++
      this.host.warn?.(`${this.label}: a session ended, and is opened again: ${message}`)
    },
    mayRestart: (reason) => {
      const now = (this.host.clock ?? systemClock).now()
      const sinceMs = now - this.#lastDeathAt
      this.#lastDeathAt = now
      if (sinceMs < settledAfterMs) return false
      this.#reason = reason
      return true
    },
    instanceOpened: () => {
      this.#reason = undefined
      this.#loaded?.batcher.wake?.()
    },
    learnedLayouts: () => this.host.learnt?.layouts() ?? new Map(),
    moved: (message) => this.host.info?.(`${this.label} ${message}`),
    onCutOff: (listener) => this.#cutOff.onCutOff(listener),
  }

  #tell({ safe, by, reason }: BatchSafety): void {
    const message = `${this.label}: requests ${safe ? 'may share' : 'do not share'} a run (${by}): ${reason}`
    // Limits were given for what is off.
    if (!safe && typeof this.host.batching === 'object') this.host.warn?.(message)
    else this.host.info?.(message)
  }

  #fail(reason: ServingError, loaded: LoadedVersion): boolean {
    if (this.#loaded !== loaded) return false
    this.learn()
    this.#loaded = undefined
    this.#deaths++
    this.#reason = reason
    this.#state = 'failed'
    // Those that waited did not run, and cost no worker.
    loaded.batcher.close(
      new ServingError('MODEL_NOT_READY', `${this.label} can't serve: ${reason.message}`, {
        cause: reason,
        headers: { 'retry-after': '1' },
      }),
    )
    loaded.cache?.close()
    this.#settleDrain('drained')
    this.host.onFreed?.()
    return true
  }

  /** Takes a lease, synchronously; undefined when the version can't serve now. */
  lease(): Lease | undefined {
    if (this.#state !== 'ready' || this.#loaded === undefined) return undefined
    this.#leases++
    return new Lease(this.name, this.#loaded, this.host, this.#onReleased)
  }

  readonly #onReleased = (): void => {
    if (--this.#leases > 0) return
    this.#settleDrain('drained')
    this.host.onReleased?.()
  }

  /** @returns false where no drain waits */
  #settleDrain(end: DrainEnd): boolean {
    const settle = this.#endDrain
    this.#endDrain = undefined
    settle?.(end)
    return settle !== undefined
  }

  /** Takes no new lease, waits until the last is released, and frees the session. Joins an unload under way. */
  unload(): Promise<void> {
    return (this.#unloading ??= this.#unload().finally(() => {
      this.#unloading = undefined
      this.#changed()
      this.host.onFreed?.()
    }))
  }

  async #unload(): Promise<void> {
    // The load's caller has its error; one that never ends is not waited for beyond the cut-off.
    if (this.#loading !== undefined) await this.#cutOff.within(this.#loading).catch(() => {})
    const loaded = this.#loaded
    if (loaded === undefined) {
      if (this.#state === 'failed') this.#state = 'unloaded'
      return
    }
    this.#state = 'draining'
    if (this.#leases > 0) {
      const drained = new Promise<DrainEnd>((resolve) => (this.#endDrain = resolve))
      const forget = this.#cutOff.onCutOff(() => this.#settleDrain('cut off'))
      const end = await drained
      forget()
      if (end === 'cancelled') return
    }
    this.learn()
    this.#leavingInstances = loaded.model.session?.instances ?? 1
    this.#loaded = undefined
    loaded.cache?.close()
    // Runs may still be under way that nobody waits for: they are waited for no longer than requests are.
    const forget = this.#cutOff.onCutOff(() => {
      loaded.batcher.cutOff(closed())
      loaded.model.close(true).catch(() => {}) // the failure of the one below
    })
    await loaded.model.close().finally(forget)
    this.#leavingInstances = 0
    this.#state = 'unloaded'
  }
}
