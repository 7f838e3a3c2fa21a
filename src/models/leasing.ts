import type { SubmitOptions } from '../batching/batcher.js'
import type { WaitLimits } from '../batching/limits-watch.js'
import type { KnownModels } from './known-models.js'
import type { Lease } from './lease.js'
import type { ModelHost } from './model-host.js'
import { closed, isLatest } from './names.js'
import { notReady } from './not-ready.js'

/** Gives requests leases on versions that can answer, and waits where one is about to. */
export class Leasing {
  constructor(
    private readonly models: KnownModels,
    private readonly host: Pick<ModelHost, 'stages' | 'within'>,
  ) {}

  /** A lease, where one is to be had at once: the path of nearly every request. @throws ServingError CLOSED */
  tryLease(model: string, version?: string, isStage = false, key?: string): Lease | undefined {
    if (this.models.isClosing && !isStage) throw closed()
    const lease = this.models.all.get(model)?.tryLease(isLatest(version) ? undefined : version, key)
    return lease?.isPipeline === true ? this.host.stages.known(lease) : lease
  }

  /** @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED, TIMEOUT */
  async lease(
    model: string,
    version: string | undefined,
    limits: WaitLimits & Pick<SubmitOptions, 'whenFull'>,
    isStage: boolean,
    key: string | undefined,
  ): Promise<Lease> {
    const lease = this.tryLease(model, version, isStage, key)
    if (lease !== undefined) return lease
    const { within } = this.host
    await within(limits, this.models.listed)
    const found = this.models.get(model)
    const ended = found.awaitLoad(limits.whenFull === 'wait')
    try {
      await within(limits, found.firstLoad)
      const named = isLatest(version) ? undefined : version
      if (named === undefined || found.isLazy) await within(limits, found.wake(named) ?? Promise.resolve())
      const late = this.tryLease(model, version, isStage, key)
      if (late !== undefined) return late
      throw notReady(found, version)
    } finally {
      ended()
    }
  }

  /**
   * For another attempt of a request: where the version's session died, once it was loaded again, if that is to be soon.
   * @throws ServingError MODEL_NOT_READY, VERSION_NOT_FOUND, CLOSED, ABORTED, TIMEOUT
   */
  async leaseAgain(model: string, version: string, limits: WaitLimits): Promise<Lease> {
    const found = this.models.get(model)
    let lease = this.tryLease(model, version)
    if (lease === undefined) {
      await this.host.within(limits, found.comeback(version) ?? Promise.resolve())
      lease = this.tryLease(model, version)
    }
    if (lease === undefined) throw notReady(found, version)
    return lease
  }

  /** The name of the version that a name, a label or `'latest'` stands for. */
  versionOf(model: string, version: string): string {
    const found = this.models.get(model)
    if (!isLatest(version)) return found.version(version).name
    if (found.current === undefined) throw notReady(found)
    return found.current.name
  }

  /** Whether a request would be answered: at once, or once a lazy model is loaded for it. */
  canServe(model: string, version?: string): boolean {
    if (this.models.isClosing) return false
    const found = this.models.get(model)
    const lease = found.tryLease(isLatest(version) ? undefined : version)
    lease?.release()
    if (lease !== undefined) return true
    if (!isLatest(version)) return found.version(version).state === 'ready'
    return found.isLazy && found.failure === undefined && found.current === undefined
  }

  /** Whether integers beyond 2^53 must stay exact for a version; undefined while it is not loaded. */
  takesExactIntegers(model: string, version?: string, key?: string): boolean | undefined {
    const found = this.models.all.get(model)
    if (found === undefined) return undefined
    const { definition } = found
    const first = definition.kind === 'pipeline' ? definition.options.entry : undefined
    if (first !== undefined) return this.takesExactIntegers(first.model, first.version, key)
    const lease = found.tryLease(isLatest(version) ? undefined : version, key)
    lease?.release()
    return lease?.codec.takesExactIntegers
  }
}
