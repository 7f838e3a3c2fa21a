import { BatchPlan, type FoundSize } from '../batching/batch-plan.js'
import { Batcher } from '../batching/batcher.js'
import { PredictionCache, type CacheOptions } from '../cache/prediction-cache.js'
import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { sharedDispatcher } from '../execution/dispatcher.js'
import type { BatchSafety } from './batch-safety.js'
import { CutOff } from './cut-off.js'
import type { BatchedModel, LoadedModel, LoadObserver } from './loaded-model.js'
import type { LearntModel, LearntStore } from './learnt.js'
import { Lease, type KeptAnswer, type Queue, type RequestBounds } from './lease.js'
import { maxBatchSizeOf, type BatchingOptions } from './model-config.js'
import { closed } from './names.js'
import { forClients, type VersionSource } from './repository.js'
import { settledAfterMs } from '../retry.js'
import { warmUp, type WarmUp } from './warm-up.js'

export type VersionState = 'registered' | 'loading' | 'ready' | 'draining' | 'unloaded' | 'failed'

/** What serves while a version is loaded. */
interface Loaded {
  readonly model: LoadedModel
  readonly batcher: Queue
  readonly cache: PredictionCache<KeptAnswer> | undefined
  /** Not of a pipeline, whose stages have their own. */
  readonly plan: BatchPlan | undefined
}

/** How the versions of a model are opened, queued and kept. */
export interface VersionHost extends RequestBounds {
  /** Loads an artifact. @param label `model@version`, for messages */
  open(label: string, source: VersionSource, observer: LoadObserver): Promise<LoadedModel>
  readonly batching?: boolean | BatchingOptions | undefined
  readonly cache?: true | CacheOptions | undefined
  readonly maxQueueRows?: number | undefined
  readonly maxQueueBytes?: number | undefined
  /** How long a run may compute before it is given up. Default: as long as it takes. */
  readonly runTimeoutMs?: number | undefined
  /** Default: the system's. */
  readonly clock?: Clock | undefined
  /** Ends every wait of an unload. Default: none is ended. */
  readonly cutOff?: CutOff | undefined
  /** Told what the operator should know. */
  warn?(message: string): void
  /** What is known of artifacts, and is learnt of them. */
  readonly learnt?: LearntStore | undefined
  /** Told what may be of interest. */
  info?(message: string): void
  /** Told of each run that succeeded. */
  onRun?(version: string, rows: number, computeMs: number): void
  /** What is run before the version is ready. Default: nothing. */
  readonly warmUp?: WarmUp | undefined
  /** Told when nobody holds the version any more, for now. */
  onReleased?(): void
  /** Told once the version is no longer in memory. */
  onFreed?(): void
}

/** A run takes longer now and then: what is bound by time is held to so much less. */
const spareTime = 2

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
  #loaded: Loaded | undefined
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
    const found: FoundSize[] = []
    for (const [signature, { bestRows, gain }] of this.#loaded?.plan?.curves() ?? []) {
      if (gain !== undefined) found.push({ signature, bestRows, gain })
    }
    return found
  }

  /** Hands on what was learnt of the artifact so far. */
  learn(): void {
    const { model, plan } = this.#loaded ?? {}
    const { inspection: { sha256 } = {}, learned: layout } = model?.session ?? {}
    if (sha256 === undefined || plan === undefined) return
    const costs = plan.toJSON()
    // What others learnt of the artifact stays where this one has nothing to say.
    const learnt: LearntModel = {
      ...(Object.keys(costs).length > 0 && { costs }),
      ...(layout !== undefined && { layout }),
    }
    if (Object.keys(learnt).length > 0) this.host.learnt?.put(sha256, learnt)
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
      const loaded: Loaded = { model, ...this.#queue(model), cache: this.#cache() }
      this.#loaded = loaded
      this.#loadTimeMs = performance.now() - started
      this.#state = 'ready'
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

  #queue(model: LoadedModel): Pick<Loaded, 'batcher' | 'plan'> {
    if (model.pipeline !== undefined) return { batcher: model.pipeline, plan: undefined }
    const plan = this.#plan(model)
    return { batcher: this.#batcher(model, plan), plan }
  }

  #batcher({ executor, batchable }: BatchedModel, plan: BatchPlan): Batcher<unknown, unknown> {
    const { batching, maxQueueRows, maxQueueBytes, clock } = this.host
    const { maxDelayMs, maxBatchElements } = typeof batching === 'object' ? batching : {}
    return new Batcher(executor, batchable, {
      plan,
      label: this.label,
      ...(clock !== undefined && { clock }),
      ...(maxDelayMs !== undefined && { maxDelayMs }),
      ...(maxBatchElements !== undefined && { maxBatchElements }),
      ...(maxQueueRows !== undefined && { maxQueueRows }),
      ...(maxQueueBytes !== undefined && { maxQueueBytes }),
      onRun: (rows, computeMs) => this.host.onRun?.(this.name, rows, computeMs),
      turnstile: sharedDispatcher().turnstile(() => executor.width),
    })
  }

  /** Requests are kept apart until it is known that they may share a run. */
  #plan({ batchSafety: { verdict, settled }, session }: BatchedModel): BatchPlan {
    const { batching, runTimeoutMs } = this.host
    if (verdict.by === 'declared' && !verdict.safe) return new BatchPlan()
    const isGiven = typeof batching === 'object' && batching.maxBatchSize !== undefined
    const { sha256 } = session?.inspection ?? {}
    const plan = new BatchPlan({
      maxBatchSize: maxBatchSizeOf(batching),
      learns: !isGiven,
      longestRunMs: runTimeoutMs === undefined ? undefined : runTimeoutMs / spareTime,
      learnt: sha256 === undefined ? undefined : this.host.learnt?.of(sha256).costs,
      onFound: (found) => this.host.info?.(`${this.label}: ${describeSize(found)}`),
    })
    if (!verdict.safe) plan.hold()
    void settled.then(({ safe }) => {
      if (safe) plan.release()
    })
    return plan
  }

  #cache(): PredictionCache<KeptAnswer> | undefined {
    const { cache } = this.host
    if (cache === undefined) return undefined
    return new PredictionCache({ ...(cache !== true && cache), sizeOf: ({ bytes }) => bytes })
  }

  #fail(reason: ServingError, loaded: Loaded): boolean {
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

function describeSize({ signature, bestRows, gain }: FoundSize): string {
  const inputs = signature === '' ? '' : ` of inputs ${signature}`
  if (bestRows === 1) return `batches${inputs} do not pay: a row costs the same alone`
  return `batches${inputs} of ${bestRows} rows pay: ${gain.toFixed(1)} times as many as single ones`
}
