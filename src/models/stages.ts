import { ServingError } from '../errors.js'
import type { StageHost, StageInfo } from './pipeline-model.js'
import type { ServedModel } from './served-model.js'
import type { Lease } from './lease.js'

/** The models of a manager as its pipelines need them. */
export class Stages implements StageHost {
  /** How often the version that serves has changed, of any model. */
  switches = 0
  #leases = 0
  #ended: (() => void) | undefined

  /** @param find gives a model, once all are known; throws ServingError MODEL_NOT_FOUND */
  constructor(private readonly find: (model: string) => Promise<ServedModel>) {}

  /**
   * Makes sure that a stage is there: where a version of it is asked for, loaded beside the one that serves.
   * @throws ServingError MODEL_NOT_FOUND, MODEL_NOT_READY; as a load does
   */
  async require({ model, version = 'latest' }: StageInfo): Promise<void> {
    const found = await this.find(model)
    if (version === 'latest') return
    // The first version that is loaded would serve: this one is not to.
    await found.firstLoad
    if (found.isLazy) await found.wake()
    if (found.current === undefined) {
      throw found.failure ?? new ServingError('MODEL_NOT_READY', `no version of "${model}" serves`)
    }
    // What a label names is loaded, or the label is not there yet.
    if (found.traffic.labels.versionOf(version) === undefined) await found.load(version, {})
  }

  /** A lease on a pipeline, known until it is released. */
  known(lease: Lease): Lease {
    this.#leases++
    return lease.whenReleased(() => {
      if (--this.#leases === 0) this.#ended?.()
    })
  }

  /** Settles once no pipeline is leased: nobody asks stages any more. */
  async unasked(): Promise<void> {
    if (this.#leases > 0) await new Promise<void>((resolve) => (this.#ended = resolve))
  }
}
