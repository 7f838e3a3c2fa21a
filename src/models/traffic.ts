import { asServingError, ServingError } from '../errors.js'
import { sharedPermits } from '../execution/permits.js'
import { Retry } from '../retry.js'
import { Canary, checkCanary, type CanaryOptions } from './canary.js'
import { checkLabel, type Labels } from './labels.js'
import { quote } from './names.js'
import type { ModelHost } from './model-host.js'
import type { Quarantine } from './quarantine.js'
import { checkShadow, Shadow, type ShadowOptions } from './shadow.js'
import type { ModelVersion } from './version.js'

/** A model whose requests are sent on. */
export interface RoutedModel {
  readonly name: string
  readonly current: ModelVersion | undefined
  readonly versions: ReadonlyMap<string, ModelVersion>
  readonly labels: Labels
  readonly options: { readonly labels?: Readonly<Record<string, string>> }
  readonly quarantine: Quarantine
}

/** The changes of a model that those of its traffic are made of. */
export interface TrafficChanges {
  /** Runs a change after those before it. */
  change<T>(operation: () => Promise<T>): Promise<T>
  /** Within a change: loads a version, so that another one serves as before. */
  loadBeside(version: string): Promise<void>
  /** Within a change: unloads what nothing holds any more. */
  retire(): void
}

/**
 * Which of a model's versions a request goes to besides the current one: those that labels name, a canary with its
 * share, and a shadow with its copies. What they name stays loaded.
 */
export class Traffic {
  readonly labels: Labels
  #canary: Canary | undefined
  #shadow: Shadow | undefined
  /** Labels that were set or removed by call: what the options say of them is overruled. */
  readonly #overruled = new Set<string>()
  /** Versions by the labels that were placed since the options say so. */
  readonly #stated = new Map<string, string>()
  /** Whether the options have changed, and are not followed in full yet. */
  #areNew = false
  readonly #retry: Retry

  constructor(
    private readonly model: RoutedModel,
    private readonly host: ModelHost,
    private readonly changes: TrafficChanges,
  ) {
    this.labels = model.labels
    this.#retry = new Retry(host.clock, () => {
      void changes.change(() => this.#applyLabels()).catch(() => {}) // only where the model is closed
    })
  }

  get canary(): Canary | undefined {
    return this.#canary
  }

  get shadow(): Shadow | undefined {
    return this.#shadow
  }

  /** The version that takes a request of this key in the place of the current one. */
  detour(key: string | undefined): string | undefined {
    const canary = this.#canary
    if (canary?.takes(key) !== true) return undefined
    // At once, whatever change of the model is under way.
    return this.model.quarantine.has(canary.version) ? undefined : canary.version
  }

  /** What keeps a version loaded although it may not be current; undefined where nothing does. */
  holder(version: string): string | undefined {
    const [label] = this.labels.of(version)
    if (label !== undefined) return `the label ${quote(label)} names it: move that first`
    if (this.#canary?.version === version) return 'it is the canary: end that first'
    return this.#shadow?.version === version ? 'it is the shadow: end that first' : undefined
  }

  /** Loads a version for a label that it is to be given, or throws where it can't be. */
  prepareLabel(label: string, version: string): Promise<void> {
    return this.changes.change(async () => {
      this.model.quarantine.check(version)
      await this.#loadFor(label, version)
    })
  }

  /**
   * Names a version by a label, or moves the label to it, once it is loaded.
   * @returns the version that it named until then
   * @throws ServingError CONFLICT for one in quarantine
   */
  setLabel(label: string, version: string): Promise<string | undefined> {
    return this.changes.change(async () => {
      this.model.quarantine.check(version)
      return this.#placeForGood(label, version)
    })
  }

  /** As {@link setLabel}, for what was decided: a version in quarantine keeps its labels. */
  placeLabel(label: string, version: string): Promise<string | undefined> {
    return this.changes.change(() => this.#placeForGood(label, version))
  }

  /** Whatever the options say. */
  async #placeForGood(label: string, version: string): Promise<string | undefined> {
    const from = await this.#place(label, version)
    this.#overrule(label)
    return from
  }

  #overrule(label: string): void {
    this.#overruled.add(label)
    this.#stated.delete(label)
  }

  async #loadFor(label: string, version: string): Promise<void> {
    checkLabel(this.model.name, label, this.model.versions)
    await this.changes.loadBeside(version)
    checkLabel(this.model.name, label, this.model.versions) // the folder was looked through again
  }

  async #place(label: string, version: string): Promise<string | undefined> {
    await this.#loadFor(label, version)
    const from = this.labels.versionOf(label)
    if (from === version) return from
    this.labels.set(label, version)
    this.#changed(`${this.model.name}: the label ${quote(label)} names version ${version}`, version)
    return from
  }

  /** @throws ServingError CONFLICT where there is no such label */
  checkHas(label: string): void {
    if (this.labels.versionOf(label) !== undefined) return
    const known = Object.keys(this.labels.toJSON()).join(', ') || 'none'
    throw new ServingError('CONFLICT', `"${this.model.name}" has no label ${quote(label)}. Labels: ${known}.`)
  }

  /**
   * @returns the version that it named
   * @throws ServingError CONFLICT where there is no such label
   */
  removeLabel(label: string): Promise<string | undefined> {
    return this.changes.change(async () => {
      this.checkHas(label)
      const from = this.labels.versionOf(label)
      this.labels.delete(label)
      this.#overrule(label)
      this.#changed(`${this.model.name}: the label ${quote(label)} was removed`)
      return from
    })
  }

  /**
   * Within a change: places the labels that the options state, or that were decided instead, but for those that were set or
   * removed since, and takes away those that the options state no more. One that can't be placed is logged, and tried again
   * later; it keeps nothing else from serving. Never rejects.
   * @param areNew whether the options have changed: what they ask for is a change then
   */
  applyLabels(areNew = false): Promise<void> {
    this.#areNew ||= areNew
    return this.#applyLabels()
  }

  async #applyLabels(): Promise<void> {
    if (this.model.current === undefined) return // it was unloaded in the meantime
    const { labels: stated = {} } = this.model.options
    const { labels: decided } = this.host.desired(this.model.name)
    for (const label of Object.keys(decided)) this.#stated.delete(label)
    for (const label of this.#stated.keys()) if (!Object.hasOwn(stated, label)) await this.#withdraw(label)
    let isComplete = true
    for (const [label, version] of Object.entries({ ...stated, ...decided })) {
      if (version === null || this.#overruled.has(label) || this.#stated.get(label) === version) continue
      try {
        if (Object.hasOwn(decided, label)) {
          await this.#place(label, version)
          this.#overrule(label)
        } else {
          await this.#recorded({ label, to: version }, () => this.#place(label, version))
          this.#stated.set(label, version)
        }
      } catch (error) {
        isComplete = false
        const { message } = asServingError(error)
        const { name: model } = this.model
        this.host.logger.error(
          { err: error, model, version, label },
          `${model}: the label ${quote(label)} can't be set: ${message}`,
        )
      }
    }
    if (!isComplete) return this.#retry.failed(true)
    this.#retry.succeeded()
    this.#areNew = false
  }

  #withdraw(label: string): Promise<void> {
    return this.#recorded({ label }, async () => {
      this.#stated.delete(label)
      this.labels.delete(label)
      this.#changed(`${this.model.name}: the label ${quote(label)} is stated no more`)
    })
  }

  /** What new options ask for is as much a change as what people do. */
  async #recorded(
    { label, to }: { readonly label: string; readonly to?: string },
    change: () => Promise<unknown>,
  ): Promise<void> {
    const from = this.labels.versionOf(label)
    const draft = { action: 'label', model: this.model.name, label, from, to } as const
    if (this.#areNew && from !== to) await this.host.changes.record(draft, { actor: 'repository' }, change)
    else await change()
  }

  /** Loads a version that is to be the canary, or throws where it can't be. */
  prepareCanary(options: CanaryOptions): Promise<void> {
    return this.changes.change(async () => {
      checkCanary(options)
      await this.#loadOther(options.version, 'canary')
    })
  }

  /** Sends a share of the requests that name no version to another one, once it is loaded. */
  startCanary(options: CanaryOptions): Promise<void> {
    return this.changes.change(async () => {
      checkCanary(options)
      const { version, percent } = options
      await this.#loadOther(version, 'canary')
      this.#canary = new Canary(this.model.name, options, this.host.random)
      this.#changed(`${this.model.name}: ${percent} % of the requests go to version ${version}`, version)
    })
  }

  /** Sends all requests to the current version again: at once, and where a canary is about to begin, after it has. */
  endCanary(): Promise<void> {
    this.#canary?.end()
    return this.changes.change(async () => this.#endCanary())
  }

  #endCanary(): void {
    if (this.#canary === undefined) return
    const { version } = this.#canary
    this.#canary = undefined
    this.#changed(`${this.model.name}: version ${version} is no canary any more`, version)
  }

  /** Gives copies of requests to another version, once it is loaded; counts begin anew. */
  startShadow(options: ShadowOptions): Promise<void> {
    return this.changes.change(async () => {
      checkShadow(options)
      const { version, fraction } = options
      await this.#loadOther(version, 'shadow')
      this.#shadow?.end()
      this.#shadow = this.#shadowOf(options)
      this.host.shadows.set(this.model.name, this.#shadow)
      this.#changed(`${this.model.name}: version ${version} shadows ${fraction} of the requests`, version)
    })
  }

  endShadow(): Promise<void> {
    return this.changes.change(async () => this.#endShadow())
  }

  #endShadow(): void {
    if (this.#shadow === undefined) return
    const { version } = this.#shadow
    this.#shadow.end()
    this.#shadow = undefined
    this.host.shadows.delete(this.model.name)
    this.#changed(`${this.model.name}: version ${version} is no shadow any more`, version)
  }

  /** @throws ServingError CONFLICT for the current version */
  async #loadOther(version: string, role: string): Promise<void> {
    this.model.quarantine.check(version)
    await this.changes.loadBeside(version)
    const { current } = this.model
    if (current?.name !== version) return
    throw new ServingError('CONFLICT', `${current.label} serves: the ${role} must be another version.`)
  }

  #shadowOf(options: ShadowOptions): Shadow {
    const { name: model, versions } = this.model
    const { clock, random, onShadow, within, logger } = this.host
    let hasFailed = false
    return new Shadow(options, {
      clock,
      random,
      current: () => this.model.current?.name,
      leaseIfIdle: (version) => (this.#isIdle(version) ? versions.get(version)?.lease() : undefined),
      within,
      tell: (version, result) => onShadow(model, version, result),
      failed: (version, error) => {
        // Of many alike the first is enough to be looked at.
        logger[hasFailed ? 'debug' : 'warn'](
          { err: error, model, version },
          `${model}@${version}: the shadow failed: ${error.message}`,
        )
        hasFailed = true
      },
    })
  }

  /** Whether a run of a version delays nobody: what it needs of the cores is free, and nothing waits for a run. */
  #isIdle(version: string): boolean {
    const shadow = this.model.versions.get(version)
    if ((this.model.current?.waitingRows ?? 0) > 0 || (shadow?.waitingRows ?? 0) > 0) return false
    const permits = sharedPermits()
    return permits.available >= Math.max(1, Math.min(shadow?.session?.width ?? 0, permits.total))
  }

  /** Within a change: a version is current now, and so neither another's canary nor its shadow. */
  activated(version: string): void {
    if (this.#canary?.version === version) this.#endCanary()
    if (this.#shadow?.version === version) this.#endShadow()
  }

  /** Within a change: the model is unloaded as a whole. */
  clear(): void {
    this.labels.clear()
    this.#overruled.clear()
    this.#stated.clear()
    this.#canary = undefined
    this.close()
  }

  /** Ends what is under way by itself. */
  close(): void {
    this.#retry.cancel()
    this.#shadow?.end()
    this.#shadow = undefined
    this.host.shadows.delete(this.model.name)
  }

  #changed(message: string, version?: string): void {
    // What pipelines keep is of the versions that answered them then.
    this.host.stages.switches++
    this.host.logger.info({ model: this.model.name, version }, message)
    this.changes.retire()
  }
}
