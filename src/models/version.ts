import { join } from 'node:path'
import { Batcher, type BatchAnswer } from '../batching/batcher.js'
import { batchedFeeds, executorOf, wholeFeeds } from '../batching/feeds-batch.js'
import { bytesOf } from '../tensor/batch.js'
import { describe, type Feeds } from '../tensor/tensor.js'
import { PredictionCache } from '../cache/prediction-cache.js'
import { asServingError, ServingError } from '../errors.js'
import { openSession } from '../execution/open-session.js'
import { coreCount } from '../execution/permits.js'
import type { ModelSignature, Session } from '../execution/session.js'
import { VersionCodec, type Awaitable, type CodecOptions } from './codec.js'
import type { ExposureOptions } from './exposure.js'
import { type ModelOptions, readVersionConfig } from './model-config.js'
import type { VersionSource } from './repository.js'

export type VersionState = 'registered' | 'loading' | 'ready' | 'draining' | 'unloaded' | 'failed'

/** What a `codec` function is told of the version it is for. */
export interface VersionInfo {
  readonly version: string
  /** The version's folder, absolute: its tokenizer, its class list. */
  readonly dir: string
}

/** Everything a model's versions are loaded and served with. */
export interface VersionOptions extends ModelOptions, ExposureOptions, CodecOptions {
  readonly codec?: ((version: VersionInfo) => Awaitable<CodecOptions>) | undefined
}

const defaultBatchSize = 32

type DrainEnd = 'drained' | 'cancelled'

/** What serves while a version is loaded. */
interface Loaded {
  readonly session: Session
  readonly codec: VersionCodec
  readonly batcher: Batcher<Feeds, Feeds>
  readonly cache: PredictionCache<BatchAnswer<Feeds>> | undefined
}

/** A request's hold on a version: until it is released, the version stays able to answer. */
export interface Lease {
  readonly version: string
  readonly codec: VersionCodec
  readonly batcher: Batcher<Feeds, Feeds>
  readonly cache: PredictionCache<BatchAnswer<Feeds>> | undefined
  /** Idempotent. */
  release(): void
}

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
  /** Set while a drain waits for leases. */
  #endDrain: ((end: DrainEnd) => void) | undefined

  constructor(
    model: string,
    readonly source: VersionSource,
    private readonly options: VersionOptions,
    private readonly onRun: (rows: number, computeMs: number) => void = () => {},
  ) {
    this.label = `${model}@${source.version}`
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

  get loadTimeMs(): number | undefined {
    return this.#loadTimeMs
  }

  get signature(): ModelSignature | undefined {
    return this.#loaded?.session.signature
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
    if (this.#settleDrain('cancelled')) this.#state = 'ready'
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
      const loaded = await this.#open()
      this.#loaded = loaded
      this.#loadTimeMs = performance.now() - started
      this.#state = 'ready'
      void loaded.session.died.then((reason) => {
        if (this.#fail(reason, loaded)) onDied(reason)
      })
    } catch (error) {
      this.#state = 'failed'
      throw (this.#reason = asServingError(error))
    }
  }

  async #open(): Promise<Loaded> {
    const { placement = 'thread', ...options } = this.options
    const override = {
      ...(await this.#versionCodec()),
      ...(await readVersionConfig(join(this.source.dir, 'model.json'))),
    }
    const cores = coreCount()
    const intraOpThreads = placement === 'inline' ? 1 : Math.min(options.intraOpThreads ?? cores, cores)
    const session = await openSession(placement, { path: this.source.file, intraOpThreads })
    try {
      const codec = new VersionCodec(this.label, session.signature, { ...options, ...override })
      return { session, codec, batcher: this.#batcher(session, codec), cache: this.#cache() }
    } catch (error) {
      await session.close()
      throw error
    }
  }

  #batcher(session: Session, { batched }: VersionCodec): Batcher<Feeds, Feeds> {
    const { batching, maxQueueRows, maxQueueBytes } = this.options
    if (batching !== undefined && !batched) {
      const inputs = session.signature.inputs
        .map((input) => `"${input.name}" (${describe(input)})`)
        .join(', ')
      throw new ServingError(
        'INVALID_CODEC',
        `${this.label}: batching needs a leading axis of variable length in every input; the model takes ${inputs}.`,
      )
    }
    return new Batcher(executorOf(session, batching !== undefined), batched ? batchedFeeds : wholeFeeds, {
      ...(batching !== undefined && { maxBatchSize: defaultBatchSize }),
      ...(typeof batching === 'object' && batching),
      ...(maxQueueRows !== undefined && { maxQueueRows }),
      ...(maxQueueBytes !== undefined && { maxQueueBytes }),
      onRun: this.onRun,
    })
  }

  #cache(): PredictionCache<BatchAnswer<Feeds>> | undefined {
    const { cache } = this.options
    if (cache === undefined) return undefined
    return new PredictionCache({ ...(cache !== true && cache), sizeOf: ({ result }) => bytesOf(result) })
  }

  async #versionCodec(): Promise<CodecOptions> {
    try {
      return (await this.options.codec?.({ version: this.name, dir: this.source.dir })) ?? {}
    } catch (error) {
      throw asServingError(error, 'INVALID_CODEC', `${this.label}: codec failed`)
    }
  }

  #fail(reason: ServingError, loaded: Loaded): boolean {
    if (this.#loaded !== loaded) return false
    this.#loaded = undefined
    this.#deaths++
    this.#reason = reason
    this.#state = 'failed'
    loaded.cache?.close()
    return true
  }

  /** Takes a lease, synchronously; undefined when the version can't serve now. */
  lease(): Lease | undefined {
    if (this.#state !== 'ready' || this.#loaded === undefined) return undefined
    const { codec, batcher, cache } = this.#loaded
    let held = true
    this.#leases++
    return {
      version: this.name,
      codec,
      batcher,
      cache,
      release: () => {
        if (!held) return
        held = false
        if (--this.#leases === 0) this.#settleDrain('drained')
      },
    }
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
    await this.#loading?.catch(() => {}) // its caller has the error
    const loaded = this.#loaded
    if (loaded === undefined) return
    this.#state = 'draining'
    if (this.#leases > 0) {
      const end = await new Promise<DrainEnd>((resolve) => (this.#endDrain = resolve))
      if (end === 'cancelled') return
    }
    this.#loaded = undefined
    loaded.cache?.close()
    await loaded.session.close()
    this.#state = 'unloaded'
  }
}
