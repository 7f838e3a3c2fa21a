import { Batcher } from '../batching/batcher.js'
import { PredictionCache, type CacheOptions } from '../cache/prediction-cache.js'
import { asServingError, type ServingError } from '../errors.js'
import { sharedDispatcher } from '../execution/dispatcher.js'
import { CutOff } from './cut-off.js'
import type { LoadedModel, LoadObserver, RequestCodec } from './loaded-model.js'
import { maxBatchSizeOf, type BatchingOptions } from './model-config.js'
import { closed } from './names.js'
import { forClients, type VersionSource } from './repository.js'

export type VersionState = 'registered' | 'loading' | 'ready' | 'draining' | 'unloaded' | 'failed'

/** An answer that the cache keeps: a result, and what it weighs. */
export interface KeptAnswer {
  readonly result: unknown
  readonly bytes: number
  readonly queueMs: number
  readonly computeMs: number
  readonly batchRows: number
}

/** What serves while a version is loaded. */
interface Loaded {
  readonly model: LoadedModel
  readonly batcher: Batcher<unknown, unknown>
  readonly cache: PredictionCache<KeptAnswer> | undefined
}

/** A request's hold on a version: until it is released, the version stays able to answer. */
export interface Lease {
  readonly version: string
  readonly codec: RequestCodec
  readonly batcher: Batcher<unknown, unknown>
  readonly cache: PredictionCache<KeptAnswer> | undefined
  /** Idempotent. */
  release(): void
}

/** How the versions of a model are opened, queued and kept. */
export interface VersionHost {
  /** Loads an artifact. @param label `model@version`, for messages */
  open(label: string, source: VersionSource, observer: LoadObserver): Promise<LoadedModel>
  readonly batching?: true | BatchingOptions | undefined
  readonly cache?: true | CacheOptions | undefined
  readonly maxQueueRows?: number | undefined
  readonly maxQueueBytes?: number | undefined
  /** Ends every wait of an unload. Default: none is ended. */
  readonly cutOff?: CutOff | undefined
  /** Told what the operator should know. */
  warn?(message: string): void
  /** Told of each run that succeeded. */
  onRun?(version: string, rows: number, computeMs: number): void
}

type DrainEnd = 'drained' | 'cancelled' | 'cut off'

/** One version of a model: its artifact, its state, and the leases on it. */
export class ModelVersion {
  readonly label: string
  #state: VersionState = 'registered'
  #reason: ServingError | undefined
  #loadTimeMs: number | undefined
  #loaded: Loaded | undefined
  #leases = 0
  #deaths = 0
  #loading: Promise<void> | undefined
  #unloading: Promise<void> | undefined
  readonly #cutOff: CutOff
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

  /** Why the last load failed, or why a ready version can no longer serve. */
  get reason(): ServingError | undefined {
    return this.#reason
  }

  /** What metrics read. */
  get status() {
    const { batcher, cache } = this.#loaded ?? {}
    return {
      version: this.name,
      state: this.#state,
      queueRows: batcher?.waitingRows ?? 0,
      inFlight: this.#leases,
      deaths: this.#deaths,
      ...(cache !== undefined && { cache: cache.counts }),
    }
  }

  /** Requests that hold the version. */
  get leases(): number {
    return this.#leases
  }

  get loadTimeMs(): number | undefined {
    return this.#loadTimeMs
  }

  /** What runs the artifact while it is loaded. */
  get session(): LoadedModel['session'] {
    return this.#loaded?.model.session
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
    const started = performance.now()
    try {
      const model = await this.host.open(this.label, this.source, this.#observer)
      if (this.#cutOff.isOver) {
        await model.close()
        throw closed()
      }
      const loaded = { model, batcher: this.#batcher(model), cache: this.#cache() }
      this.#loaded = loaded
      this.#loadTimeMs = performance.now() - started
      this.#state = 'ready'
      void model.died.then((reason) => {
        if (this.#fail(reason, loaded)) onDied(reason)
      })
    } catch (error) {
      this.#state = 'failed'
      const reason = asServingError(error)
      this.#reason = forClients(reason, this.source.file, this.label)
      throw reason
    }
  }

  readonly #observer: LoadObserver = {
    warn: (message) => this.host.warn?.(`${this.label}: ${message}`),
    instanceDied: ({ message }) => {
      this.#deaths++
      this.host.warn?.(`${this.label}: an instance ended, and is opened again: ${message}`)
    },
  }

  #batcher({ executor, batchable }: LoadedModel): Batcher<unknown, unknown> {
    const { batching, maxQueueRows, maxQueueBytes } = this.host
    return new Batcher(executor, batchable, {
      ...(typeof batching === 'object' && batching),
      ...(batching !== undefined && { maxBatchSize: maxBatchSizeOf(batching) }),
      ...(maxQueueRows !== undefined && { maxQueueRows }),
      ...(maxQueueBytes !== undefined && { maxQueueBytes }),
      onRun: (rows, computeMs) => this.host.onRun?.(this.name, rows, computeMs),
      turnstile: sharedDispatcher().turnstile(() => executor.width),
    })
  }

  #cache(): PredictionCache<KeptAnswer> | undefined {
    const { cache } = this.host
    if (cache === undefined) return undefined
    return new PredictionCache({ ...(cache !== true && cache), sizeOf: ({ bytes }) => bytes })
  }

  #fail(reason: ServingError, loaded: Loaded): boolean {
    if (this.#loaded !== loaded) return false
    this.#loaded = undefined
    this.#deaths++
    this.#reason = reason
    this.#state = 'failed'
    loaded.batcher.close(reason)
    loaded.cache?.close()
    this.#settleDrain('drained')
    return true
  }

  /** Takes a lease, synchronously; undefined when the version can't serve now. */
  lease(): Lease | undefined {
    if (this.#state !== 'ready' || this.#loaded === undefined) return undefined
    this.#leases++
    return new VersionLease(this.name, this.#loaded, this.#onReleased)
  }

  readonly #onReleased = (): void => {
    if (--this.#leases === 0) this.#settleDrain('drained')
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
    return (this.#unloading ??= this.#unload().finally(() => (this.#unloading = undefined)))
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
    this.#loaded = undefined
    loaded.cache?.close()
    const isCutOff = this.#cutOff.isOver
    if (isCutOff) loaded.batcher.cutOff(closed())
    await loaded.model.close(isCutOff)
    this.#state = 'unloaded'
  }
}

/** A class, and one callback for all leases of a version: one is made for each request. */
class VersionLease implements Lease {
  readonly codec: RequestCodec
  readonly batcher: Batcher<unknown, unknown>
  readonly cache: PredictionCache<KeptAnswer> | undefined
  #isHeld = true

  constructor(
    readonly version: string,
    { model, batcher, cache }: Loaded,
    private readonly onReleased: () => void,
  ) {
    this.codec = model.codec
    this.batcher = batcher
    this.cache = cache
  }

  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.onReleased()
  }
}
