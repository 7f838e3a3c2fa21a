import type { AgreementGuard, ErrorRatioGuard, LatencyGuard } from './rollout-options.js'
import type { Sample } from './sample.js'
import { isBelow, isBelowShare, type Proportion } from './sequential-test.js'

/** What a guard watches: everything is a comparison of proportions. */
export interface Evidence {
  /** What there is of it: requests or comparisons. */
  readonly trials: number
  /** Whether the new version is surely worse, and by more than it may; wrong with a probability of at most `level`. */
  isWorse(level: number): boolean
  /** Whether it is surely not worse by what it must not be; wrong with a probability of at most `level`. */
  isNoWorse(level: number): boolean
  /** What was seen, for people. */
  describe(): string
}

/**
 * Failures. Worse: the share of failed requests is above that of the stable version at all, and was seen to be more
 * than `maxIncrease` above it. No worse: it is less than `maxIncrease` above it.
 */
export class ErrorEvidence implements Evidence {
  constructor(
    readonly guard: ErrorRatioGuard,
    readonly candidate: Sample,
    readonly stable: Sample,
  ) {}

  get trials(): number {
    return this.candidate.requests
  }

  isWorse(level: number): boolean {
    const { candidate, stable, guard } = this
    const increase = candidate.failures / candidate.requests - stable.failures / stable.requests
    return increase > guard.maxIncrease && isBelow(stable.failed, candidate.failed, 0, level)
  }

  isNoWorse(level: number): boolean {
    return isBelow(this.candidate.failed, this.stable.failed, this.guard.maxIncrease, level)
  }

  describe(): string {
    const { candidate, stable, guard } = this
    return (
      `${ofAll(candidate.failed)} requests failed, of the stable version ${ofAll(stable.failed)}; ` +
      `allowed are ${percent(guard.maxIncrease)} more`
    )
  }
}

/**
 * A quantile of the latency. Of the stable version's requests, one less the quantile take longer than it, by what a
 * quantile is; the new version's may take `maxRatio` times as long, and the share that takes longer yet is compared with
 * that. Worse: it is above. No worse: it is below, so the new version's quantile is less than `maxRatio` times the other.
 *
 * The distributions' form does not matter: H. C. Mathisen, "A method of testing the hypothesis that two samples are from
 * the same population", Annals of Mathematical Statistics 14 (1943), pp. 188-194, for any quantile. That the stable
 * version's quantile is one of its own sample makes the counts those of two binomial samples only nearly.
 */
export class LatencyEvidence implements Evidence {
  readonly #quantile: number

  constructor(
    readonly guard: LatencyGuard,
    readonly candidate: Sample,
    readonly stable: Sample,
  ) {
    this.#quantile = guard.quantile ?? 0.95
  }

  get trials(): number {
    return this.candidate.latencies.total
  }

  isWorse(level: number): boolean {
    return isBelow(this.#ownBeyond(), this.#surelyBeyond(), 0, level)
  }

  isNoWorse(level: number): boolean {
    const { candidate, stable, guard } = this
    const limitMs = stable.latencies.quantileMs(this.#quantile).least * guard.maxRatio
    const possibly = { events: candidate.latencies.possiblyBeyond(limitMs), trials: this.trials }
    return isBelow(possibly, this.#ownBeyond(), 0, level)
  }

  describe(): string {
    const { candidate, stable, guard } = this
    const ofCandidate = candidate.latencies.quantileMs(this.#quantile).most
    const ofStable = stable.latencies.quantileMs(this.#quantile).most
    return (
      `${percent(this.#quantile)} of ${this.trials} requests took up to ${milliseconds(ofCandidate)}, ` +
      `of ${stable.latencies.total} of the stable version up to ${milliseconds(ofStable)}; ` +
      `allowed is ${guard.maxRatio} times that, which ${ofAll(this.#surelyBeyond())} exceeded`
    )
  }

  #surelyBeyond(): Proportion {
    const { candidate, stable, guard } = this
    const limitMs = stable.latencies.quantileMs(this.#quantile).most * guard.maxRatio
    return { events: candidate.latencies.surelyBeyond(limitMs), trials: this.trials }
  }

  /** The stable version's requests beyond its own quantile. */
  #ownBeyond(): Proportion {
    const { total } = this.stable.latencies
    return { events: total - Math.ceil(this.#quantile * total), trials: total }
  }
}

/** How often two versions gave the same answer, and how often they did not. */
export interface Comparisons {
  disagreements: number
  comparisons: number
}

/** Agreement with the stable version. Worse: it is below `min`. No worse: it is above. */
export class AgreementEvidence implements Evidence {
  constructor(
    readonly guard: AgreementGuard,
    readonly counts: Readonly<Comparisons>,
  ) {}

  get trials(): number {
    return this.counts.comparisons
  }

  isWorse(level: number): boolean {
    const { disagreements, comparisons } = this.counts
    return isBelowShare({ events: comparisons - disagreements, trials: comparisons }, this.guard.min, level)
  }

  isNoWorse(level: number): boolean {
    const { disagreements: events, comparisons: trials } = this.counts
    return isBelowShare({ events, trials }, 1 - this.guard.min, level)
  }

  describe(): string {
    const { disagreements: events, comparisons: trials } = this.counts
    return `${ofAll({ events, trials })} answers differed from the stable version's; allowed are ${percent(1 - this.guard.min)}`
  }
}

function ofAll({ events, trials }: Proportion): string {
  return `${events} of ${trials}${trials === 0 ? '' : ` (${percent(events / trials)})`}`
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`
}

function milliseconds(ms: number): string {
  return Number.isNaN(ms) ? 'an unknown time' : `${Number(ms.toPrecision(3))} ms`
}
