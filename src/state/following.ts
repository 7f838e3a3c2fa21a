import type { Clock } from '../clock.js'
import { asServingError } from '../errors.js'
import { Retry } from '../retry.js'
import { desiredOf, type DesiredModel, type DesiredState } from './desired-state.js'
import type { FailedVersion } from './heartbeats.js'

/** What this replica has done about one model. */
export class Following {
  /** What the model was made; undefined where nothing is known of that. */
  applied: DesiredModel | undefined
  /** Whether the model has yet to be made what was desired when it came: no change, for those who are told of changes. */
  isNew = true
  /** The revision that could not be applied, and is tried again. */
  #failedRevision: number | undefined
  readonly #retry: Retry
  /** Changes of the model, one after another: those of others, and those that this replica makes. */
  #task: Promise<unknown> = Promise.resolve()
  isBusy = false
  /** Versions that were needed and could not be had. */
  readonly failed = new Map<string, FailedVersion>()

  /** @param state from which the model starts: it takes by itself what is to serve */
  constructor(model: string, state: DesiredState, clock: Clock) {
    this.#retry = new Retry(clock, () => {})
    this.applied = desiredOf(state, model)
  }

  /** Whether something is to be applied now. */
  isDue({ revision }: DesiredModel): boolean {
    if (!this.isNew && revision <= (this.applied?.revision ?? 0)) return false
    // What could not be done waits; what is new does not.
    return this.#failedRevision !== revision || this.#retry.waitMs === 0
  }

  succeeded(desired: DesiredModel): void {
    this.applied = desired
    this.isNew = false
    this.#failedRevision = undefined
    this.#retry.succeeded()
    for (const [version, { change }] of this.failed) if (change === undefined) this.failed.delete(version)
  }

  gaveUp({ revision }: DesiredModel): void {
    this.#failedRevision = revision
    this.#retry.failed(false)
  }

  /** Runs a change of this replica's own, during which it follows no other of the model. */
  alone<T>(operation: () => Promise<T>): Promise<T> {
    this.isBusy = true
    const result = this.#task.then(operation)
    const task: Promise<unknown> = result
      .catch(() => {}) // who asked for it has the error
      .finally(() => {
        if (this.#task === task) this.isBusy = false
      })
    this.#task = task
    return result
  }

  /** Does what needs a version, and notes for the others whether it could be had. @param change that waits for it */
  async need<T>(version: string, operation: () => Promise<T>, change?: string): Promise<T> {
    try {
      const result = await operation()
      this.failed.delete(version)
      return result
    } catch (error) {
      const { code, message } = asServingError(error)
      this.failed.set(version, { ...(change !== undefined && { change }), code, message })
      throw error
    }
  }
}
