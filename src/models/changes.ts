import { asServingError, type ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { text, type Fields } from '../options.js'
import type { RolloutEvent } from '../rollout/rollout-host.js'

/** What can be done to a model's versions. */
export type ChangeAction =
  | 'load'
  | 'unload'
  | 'switch'
  | 'rollback'
  | 'label'
  | 'canary'
  | 'shadow'
  | 'rollout'
  | 'quarantine'
  | 'release'

/** Who asks for a change, and why. */
export interface ChangeOrigin {
  /** Who it is. Default: `'code'`. */
  readonly actor?: string | undefined
  /** Why, in words for people. */
  readonly reason?: string | undefined
  /** The request that asked for it, where it came over HTTP. */
  readonly requestId?: string | undefined
}

export const originFields: Fields<ChangeOrigin> = { actor: text, reason: text, requestId: text }

/** One change of what a model serves, or an attempt at one: an entry of the audit trail. */
export interface ModelChange extends ChangeOrigin {
  /** When it was done, or had failed. */
  readonly at: Date
  readonly actor: string
  readonly action: ChangeAction
  /** As it was asked for: there may be no such model. */
  readonly model: string
  /** The label that was set, moved or removed. */
  readonly label?: string | undefined
  /** The share of the requests that a canary has from now on. */
  readonly percent?: number | undefined
  /** How a rollout went on or ended, where that is what is told. */
  readonly rollout?: RolloutEvent | undefined
  /** The version that served before, that had the label or the share, or that was unloaded. */
  readonly from?: string | undefined
  /** The version that serves from now on, that has the label or the share, or that was loaded; of a failure, the one that was asked for. */
  readonly to?: string | undefined
  readonly result: 'success' | 'failed'
  /** Why it failed. */
  readonly error?: ServingError
}

/** What is known of a change before its end; who makes the change fills in what shows meanwhile. */
export interface ChangeDraft {
  readonly action: ChangeAction
  readonly model: string
  readonly label?: string | undefined
  readonly percent?: number | undefined
  readonly rollout?: RolloutEvent
  from?: string | undefined
  to?: string | undefined
}

/** What it gives means nothing; a promise is not waited for. */
export type ChangeListener = (change: ModelChange) => unknown

/** Tells the log and all who listen of every change. */
export class Changes {
  readonly #listeners = new Set<ChangeListener>()

  constructor(private readonly logger: Logger) {}

  /** @returns ends the subscription */
  listen(listener: ChangeListener): () => void {
    // A function of its own, so that one listener can be given twice and each subscription ends alone.
    const own: ChangeListener = (change) => listener(change)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** Makes a change, and tells of it once it is done or has failed. Rejects as `operation` does. */
  async record<T>(
    draft: ChangeDraft,
    { actor = 'code', reason, requestId }: ChangeOrigin,
    operation: (draft: ChangeDraft) => Promise<T>,
  ): Promise<T> {
    const origin = {
      actor,
      ...(reason !== undefined && { reason }),
      ...(requestId !== undefined && { requestId }),
    }
    try {
      const outcome = await operation(draft)
      this.#tell({ at: new Date(), ...origin, ...draft, result: 'success' })
      return outcome
    } catch (error) {
      this.#tell({ at: new Date(), ...origin, ...draft, result: 'failed', error: asServingError(error) })
      throw error
    }
  }

  #tell(change: ModelChange): void {
    const { error, ...fields } = change
    this.logger.info({ ...fields, ...(error !== undefined && { err: error }) }, sentence(change))
    for (const listener of this.#listeners) void this.#hand(listener, change)
  }

  /** Never rejects: who listens can neither fail a change nor end the process. */
  async #hand(listener: ChangeListener, change: ModelChange): Promise<void> {
    try {
      await listener(change)
    } catch (thrown) {
      this.logger.error({ err: thrown }, 'a listener of model changes failed')
    }
  }
}

function sentence({ actor, action, model, label, from, to, error }: ModelChange): string {
  const versions = [from !== undefined && `from ${from}`, to !== undefined && `to ${to}`].filter(Boolean)
  const what = label === undefined ? action : `${action} ${label}`
  const change = [`${what} of ${model}`, ...versions, `by ${actor}`].join(' ')
  return error === undefined ? change : `${change} failed: ${error.message}`
}
