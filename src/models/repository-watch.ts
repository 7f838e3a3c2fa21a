import type { Clock, Timer } from '../clock.js'
import { messageOf } from '../errors.js'
import type { Logger } from '../logger.js'
import { listModels } from './repository.js'
import type { ModelWatch } from './model-watch.js'

/** What the watch asks of the models' manager. */
export interface WatchedModels {
  /** The folder of models, where there is one. */
  readonly repository: string | undefined
  all(): Iterable<{ readonly watch: ModelWatch | undefined }>
  /** Told of all folders of models that are there, each time they could be listed. */
  listed(folders: ReadonlyMap<string, string>): void
}

/**
 * Looks at the repository and at the folders of its models again and again: volumes, NFS and ConfigMaps tell nobody that
 * they changed. It does not keep the process alive.
 */
export class RepositoryWatch {
  #timer: Timer | undefined
  #isStopped = false
  #isUnreadable = false

  constructor(
    private readonly models: WatchedModels,
    private readonly host: { readonly clock: Clock; readonly logger: Logger },
    private readonly intervalMs: number,
  ) {}

  start(): void {
    if (this.#isStopped) return
    this.#timer = this.host.clock.setTimer(() => void this.#poll(), this.intervalMs, { background: true })
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.clear()
  }

  async #poll(): Promise<void> {
    try {
      await this.#lookAtRepository()
      for (const model of [...this.models.all()]) {
        if (this.#isStopped) return
        await model.watch?.poll()
      }
    } catch (error) {
      this.host.logger.error(
        { err: error },
        `the models' folders could not be looked at: ${messageOf(error)}`,
      )
    }
    this.start()
  }

  async #lookAtRepository(): Promise<void> {
    const { repository } = this.models
    if (repository === undefined) return
    try {
      const folders = await listModels(repository)
      if (!this.#isStopped) this.models.listed(folders)
      this.#isUnreadable = false
    } catch (error) {
      if (!this.#isUnreadable) this.host.logger.warn({ err: error }, messageOf(error))
      this.#isUnreadable = true
    }
  }
}
