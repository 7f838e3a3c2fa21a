import type { WaitLimits } from '../batching/limits-watch.js'
import type { Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { fields, integer, provided, text, type Fields } from '../options.js'
import { compareOutcomes, type CompareOptions } from './agreement.js'
import type { Outcome } from './classification.js'
import type { Lease } from './lease.js'
import { plainCopy } from './plain-copy.js'

export interface ShadowOptions {
  /** The version that is given copies of requests; it is loaded where needed. */
  readonly version: string
  /** Which part of the requests that the current version answers is copied: above 0, up to 1. */
  readonly fraction: number
  /** Copies that may be kept at once; while there are as many, further ones are dropped. Default: 16. */
  readonly maxPending?: number
  /** What counts as the same answer. */
  readonly compare?: CompareOptions
}

export const compareFields: Fields<CompareOptions> = {
  tolerance: provided(
    'a number of at least 0',
    (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
    { type: 'number', minimum: 0 },
  ),
}

export const shadowFields: Fields<ShadowOptions> = {
  version: text,
  fraction: provided(
    'a number above 0, up to 1',
    (value) => typeof value === 'number' && value > 0 && value <= 1,
    { type: 'number', exclusiveMinimum: 0, maximum: 1 },
  ),
  maxPending: integer(1, 10_000),
  compare: fields(compareFields),
}

/** @throws ServingError INVALID_OPTIONS */
export function checkShadow(options: ShadowOptions): void {
  fields(shadowFields, ['version', 'fraction']).inside?.(options, 'shadow()', 'INVALID_OPTIONS')
}

/** What became of a copy. */
export type ShadowResult =
  | {
      readonly result: 'agreed' | 'disagreed'
      readonly distance: number | undefined
      readonly latencyMs: number
    }
  | { readonly result: 'failed'; readonly latencyMs: number }
  /** `dropped` at the bound of copies, `skipped` since others needed the cores or the shadow could not serve. */
  | { readonly result: 'dropped' | 'skipped' }

/** What a shadow needs of its model. */
export interface ShadowHost {
  readonly clock: Clock
  /** From 0 to 1, without 1. */
  random(): number
  /** The version that serves. */
  current(): string | undefined
  /** A lease on the shadow's version, where there is nothing that a copy would delay. */
  leaseIfIdle(version: string): Lease | undefined
  within<T>(limits: WaitLimits, promise: Promise<T>): Promise<T>
  /** Told of each copy. */
  tell(version: string, result: ShadowResult): void
  /** Told why a copy failed. */
  failed(version: string, error: ServingError): void
}

/** A prediction, as far as a shadow looks at it. */
type Answer = Outcome & { readonly meta: { readonly version: string; readonly degraded?: string } }

/** Errors that say nothing of the version: there was no room, or no time, for a copy. */
const isBusy = (error: unknown) =>
  ServingError.is(error, 'QUEUE_FULL', 'OVERLOADED', 'MODEL_NOT_READY', 'ABORTED', 'CLOSED')

/**
 * Gives copies of a fraction of a model's requests to a version that does not serve, and compares what it answers. A
 * copy runs after the answer went out, where the cores and both queues are idle, alone and at the lowest priority; it
 * asks no cache, and nobody waits for it.
 */
export class Shadow {
  readonly version: string
  readonly #options: ShadowOptions
  readonly #host: ShadowHost
  readonly #maxPending: number
  readonly #ended = new AbortController()
  readonly #counts = { agreed: 0, disagreed: 0, failed: 0, dropped: 0, skipped: 0 }
  readonly #distance = { count: 0, sum: 0, max: 0 }
  #pending = 0

  constructor(options: ShadowOptions, host: ShadowHost) {
    this.version = options.version
    this.#options = options
    this.#host = host
    this.#maxPending = options.maxPending ?? 16
  }

  /** A copy of a request's input, where it is one of those to be copied. Called before anything can change it. */
  sample(input: unknown, inTensors = false): ShadowCopy | undefined {
    if (this.#host.random() >= this.#options.fraction) return undefined
    const current = this.#host.current()
    if (current === undefined) return undefined
    if (this.#pending >= this.#maxPending) {
      this.#tell({ result: 'dropped' })
      return undefined
    }
    const copy = copied(input)
    if (copy === undefined) return undefined
    this.#pending++
    return new ShadowCopy(current, (answer) => {
      if (answer === undefined) this.#pending--
      else
        setImmediate(() => void this.#compare(copy.value, inTensors, answer).finally(() => this.#pending--))
    })
  }

  /** Ends what is under way, uncounted. */
  end(): void {
    this.#ended.abort()
  }

  #hasEnded(): boolean {
    return this.#ended.signal.aborted
  }

  /** Never rejects. */
  async #compare(input: unknown, inTensors: boolean, expected: Outcome): Promise<void> {
    const { clock } = this.#host
    if (this.#hasEnded()) return
    const lease = this.#host.leaseIfIdle(this.version)
    if (lease === undefined) return this.#tell({ result: 'skipped' })
    const startedAt = clock.now()
    try {
      const actual = await this.#ask(lease, input, inTensors, startedAt)
      const latencyMs = clock.now() - startedAt
      const { agree, distance } = compareOutcomes(expected, actual, this.#options.compare)
      this.#tell({ result: agree ? 'agreed' : 'disagreed', distance, latencyMs })
    } catch (cause) {
      if (this.#hasEnded()) return
      if (isBusy(cause)) return this.#tell({ result: 'skipped' })
      this.#tell({ result: 'failed', latencyMs: clock.now() - startedAt })
      this.#host.failed(this.version, asServingError(cause))
    } finally {
      lease.release()
    }
  }

  async #ask(lease: Lease, input: unknown, inTensors: boolean, startedAt: number): Promise<Outcome> {
    const { batcher, timeoutMs } = lease
    const codec = (inTensors ? lease.tensors : undefined) ?? lease.codec
    const { signal } = this.#ended
    const limits = { signal, ...(timeoutMs !== undefined && { deadlineMs: startedAt + timeoutMs }) }
    const within = <T>(wait: T | Promise<T>) => this.#host.within(limits, Promise.resolve(wait))
    const encoded = await within(codec.encode(input, signal))
    // Alone, so that it neither lengthens nor fails the run of a request that somebody waits for.
    const { result } = await batcher.submit(codec.own(encoded), { ...limits, priority: 2, alone: true })
    return within(codec.decode(result, encoded, false))
  }

  #tell(result: ShadowResult): void {
    this.#counts[result.result]++
    if ('distance' in result && result.distance !== undefined) {
      this.#distance.count++
      this.#distance.sum += result.distance
      this.#distance.max = Math.max(this.#distance.max, result.distance)
    }
    this.#host.tell(this.version, result)
  }

  toJSON(): ShadowSnapshot {
    const { count, sum, max } = this.#distance
    return {
      version: this.version,
      fraction: this.#options.fraction,
      ...this.#counts,
      ...(count > 0 && { meanDistance: sum / count, maxDistance: max }),
    }
  }
}

/** A shadow's state at one moment; its counts are of copies. */
export interface ShadowSnapshot {
  readonly version: string
  readonly fraction: number
  /** Whose prediction was the same. */
  readonly agreed: number
  /** Whose prediction was another. */
  readonly disagreed: number
  /** That the shadow answered with an error. */
  readonly failed: number
  /** Beyond `maxPending`. */
  readonly dropped: number
  /** That were not run, since others needed the cores, or the shadow could not serve. */
  readonly skipped: number
  /** Between numbers of both answers, where there were any. */
  readonly meanDistance?: number
  readonly maxDistance?: number
}

/** A copied input, until it is known whether there is an answer to compare with. */
export class ShadowCopy {
  /**
   * @param current the version whose answers are compared
   * @param done given the answer, or nothing where there is none of that version's own
   */
  constructor(
    private readonly current: string,
    private readonly done: (answer: Outcome | undefined) => void,
  ) {}

  /** Watches an answer, which stays as it is. */
  beside<A extends Answer>(answer: Promise<A>): Promise<A> {
    answer.then(
      ({ prediction, scores, meta }) => {
        const isOwn = meta.version === this.current && meta.degraded === undefined
        // The caller is given it next, and may change it.
        this.done(isOwn ? copied({ prediction, scores })?.value : undefined)
      },
      () => this.done(undefined),
    )
    return answer
  }
}

/** Undefined for what can't be copied, such as an object whose getters throw: that is the request's own affair. */
function copied<T>(value: T): { readonly value: T } | undefined {
  try {
    return { value: plainCopy(value).copy as T }
  } catch {
    return undefined
  }
}
