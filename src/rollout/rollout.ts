import type { Timer } from '../clock.js'
import { asServingError, messageOf, ServingError } from '../errors.js'
import type { Comparisons } from './evidence.js'
import type { Guard, GuardName, GuardState } from './guard.js'
import { logEvent } from './rollout-log.js'
import {
  isOver,
  type RolloutEvent,
  type RolloutHost,
  type RolloutPhase,
  type RolloutStatus,
} from './rollout-host.js'
import { rolloutPlan, type RolloutOptions, type RolloutPlan } from './rollout-options.js'
import { checkRolloutState, type RolloutState } from './rollout-state.js'
import { figuresOf } from './rollout-status.js'
import { Sample, type RequestOutcome } from './sample.js'
import { stepGuards } from './step-guards.js'

/** One of the two versions of a rollout: the new one, or the one that serves. */
export type RolloutSide = 'candidate' | 'stable'

/**
 * A version taking over the traffic of another, step by step. In each step the guards compare what both versions did
 * over the same time. One that is breached ends the rollout at once: all traffic goes back, and the version is
 * quarantined. A step is passed when every guard is sure that the version is good enough, and the step has had its
 * requests and its time; after the last one the version is promoted.
 *
 * What that promises, for independent requests and whatever the number of looks:
 * - a version as good as the stable one is rolled back with a probability of at most `significance`, over the whole
 *   rollout: each guard of each step has an equal part of it;
 * - a version that is worse than a guard allows, in every step, is promoted with a probability of at most
 *   `significance`: every guard would have to be wrong about it in every step, so none of it is divided.
 *
 * In between, a version that is worse by less than is allowed may be either.
 */
export class Rollout {
  readonly plan: RolloutPlan
  readonly #host: RolloutHost
  readonly #comparisons: Comparisons = { disagreements: 0, comparisons: 0 }
  #phase: RolloutPhase = 'running'
  #reason: string | undefined
  /** From 0. */
  #step = 0
  #candidate = new Sample()
  #stable = new Sample()
  #guards: readonly Guard[] = []
  /** Of the step, until `#since`. */
  #elapsedMs = 0
  /** Infinity while its time stands still. */
  #since: number
  #timer: Timer | undefined
  #isClosed = false

  private constructor(plan: RolloutPlan, host: RolloutHost) {
    this.plan = plan
    this.#host = host
    this.#since = host.clock.now()
  }

  /**
   * Begins the first step.
   * @throws ServingError INVALID_OPTIONS; whatever the host throws at the first share
   */
  static start(options: RolloutOptions, host: RolloutHost): Rollout {
    const rollout = new Rollout(rolloutPlan(options), host)
    rollout.#guards = rollout.#newGuards()
    host.setShare(rollout.percent)
    rollout.#emit('step')
    rollout.#wait()
    return rollout
  }

  /**
   * Goes on from a {@link toJSON | stored} rollout: gives the version its share again, or promotes it where that was
   * about to happen. One that is over stays over.
   * @throws ServingError INVALID_CONFIG; whatever the host throws at the share
   */
  static resume(stored: unknown, host: RolloutHost): Rollout {
    checkRolloutState(stored)
    const { format: _, ...state } = stored
    const rollout = new Rollout(rolloutPlan(state.plan), host)
    if (state.step >= rollout.plan.steps.length) {
      throw new ServingError(
        'INVALID_CONFIG',
        `a rollout that was stored: there is no step ${state.step + 1}.`,
      )
    }
    rollout.#phase = state.phase
    rollout.#reason = state.reason
    rollout.#step = state.step
    rollout.#elapsedMs = state.elapsedMs
    rollout.#candidate = new Sample(state.candidate)
    rollout.#stable = new Sample(state.stable)
    Object.assign(rollout.#comparisons, state.comparisons)
    rollout.#guards = rollout.#newGuards(state.guards)
    if (!rollout.isOver) host.setShare(rollout.percent)
    if (rollout.#phase === 'running') rollout.#wait()
    else rollout.#since = Infinity
    if (rollout.#phase === 'promoting') rollout.#promote()
    return rollout
  }

  /** The share of the traffic of the step under way, in percent. */
  get percent(): number {
    return this.plan.steps[this.#step] ?? 100
  }

  get isOver(): boolean {
    return isOver(this.#phase)
  }

  /** A version answered a request, or failed at it. Never throws. */
  observe(side: RolloutSide, outcome: RequestOutcome): void {
    if (this.#phase !== 'running') return
    if (side === 'stable') return this.#stable.observe(outcome)
    this.#candidate.observe(outcome)
    this.#look()
  }

  /** Both versions were given the same input. Never throws. */
  compared(agree: boolean): void {
    if (this.#phase !== 'running') return
    this.#comparisons.comparisons++
    if (!agree) this.#comparisons.disagreements++
    this.#look()
  }

  /**
   * A version can't serve any more: the new one is rolled back; without the stable one there is nothing to compare
   * with, and nowhere to go back to, so the rollout holds still until it {@link stableIsBack | is back}.
   */
  died(side: RolloutSide, reason: string): void {
    if (this.#phase !== 'running' && this.#phase !== 'paused') return
    if (side === 'candidate') return this.#rollBack(`it can no longer serve: ${reason}`)
    if (this.#phase === 'paused') return
    this.#stopTime()
    this.#become('paused', `the stable version can't serve: ${reason}`)
  }

  stableIsBack(): void {
    if (this.#phase !== 'paused') return
    this.#phase = 'running'
    this.#reason = undefined
    this.#since = this.#host.clock.now()
    this.#emit('resumed')
    this.#wait()
  }

  /**
   * Sends all traffic back to the stable version. The new one is not quarantined: nothing was found out about it.
   * @throws ServingError CONFLICT where it is over, or the version already about to be promoted
   */
  abort(reason = 'an operator ended it'): void {
    if (this.isOver || this.#phase === 'promoting') {
      throw new ServingError('CONFLICT', `the rollout of version ${this.plan.version} is ${this.#phase}.`)
    }
    this.#end('aborted', reason)
  }

  /** Somebody has put the new version in quarantine. */
  quarantined(reason: string): void {
    if (this.isOver || this.#phase === 'promoting') return
    this.#end('rolled-back', `it was put in quarantine: ${reason}`)
  }

  /** Stops every timer, without a word about the version: another process goes on from {@link toJSON}. */
  close(): void {
    this.#isClosed = true
    this.#stopTime()
  }

  get status(): RolloutStatus {
    return {
      version: this.plan.version,
      phase: this.#phase,
      step: this.#step + 1,
      steps: this.plan.steps.length,
      percent: this.percent,
      ...(this.#reason !== undefined && { reason: this.#reason }),
      passed: this.#guards.filter(({ passed }) => passed).map(({ name }) => name),
      figures: figuresOf(this.plan, this.#candidate, this.#stable, this.#comparisons),
    }
  }

  toJSON(): RolloutState {
    return {
      format: 1,
      plan: this.plan,
      phase: this.#phase,
      ...(this.#reason !== undefined && { reason: this.#reason }),
      step: this.#step,
      elapsedMs: this.#elapsed(),
      candidate: this.#candidate.toJSON(),
      stable: this.#stable.toJSON(),
      comparisons: { ...this.#comparisons },
      guards: Object.fromEntries(this.#guards.map((guard) => [guard.name, guard.toJSON()])),
    }
  }

  #newGuards(states?: Readonly<Record<string, GuardState>>): readonly Guard[] {
    const before = this.#guards.find(({ name }) => name === 'agreement')
    return stepGuards(this.plan, this.#candidate, this.#stable, this.#comparisons, before, states)
  }

  #look(): void {
    for (const guard of this.#guards) {
      if (guard.isBreached()) return this.#rollBack(guard.evidence.describe(), guard.name)
    }
    const { minRequests, minStepMs } = this.plan
    if (this.#candidate.requests < minRequests || !this.#guards.every(({ passed }) => passed)) return
    if (this.#elapsed() >= minStepMs) this.#pass()
  }

  #pass(): void {
    this.#stopTime()
    if (this.#step + 1 === this.plan.steps.length) {
      this.#become('promoting')
      return this.#promote()
    }
    this.#step++
    this.#elapsedMs = 0
    this.#since = this.#host.clock.now()
    this.#candidate = new Sample()
    // At 100 percent there is no traffic to compare with but that of the step before.
    if (this.percent < 100) this.#stable = new Sample()
    this.#guards = this.#newGuards()
    try {
      this.#host.setShare(this.percent)
    } catch (error) {
      return this.#end('failed', messageOf(error))
    }
    this.#emit('step')
    this.#wait()
  }

  #promote(): void {
    this.#host.promote().then(
      () => this.#isClosed || this.#end('promoted'),
      (error: unknown) => this.#isClosed || this.#end('failed', asServingError(error).message),
    )
  }

  #rollBack(reason: string, guard?: GuardName): void {
    this.#withdraw()
    this.#tryTo('quarantine', () => this.#host.quarantine(reason))
    this.#become('rolled-back', reason, guard)
  }

  #end(phase: Exclude<RolloutPhase, 'running'>, reason?: string): void {
    this.#withdraw()
    this.#become(phase, reason)
  }

  /** First of all: no request more goes there. */
  #withdraw(): void {
    this.#stopTime()
    this.#tryTo('end the share of', () => this.#host.endShare())
  }

  #become(phase: Exclude<RolloutPhase, 'running'>, reason?: string, guard?: GuardName): void {
    this.#phase = phase
    this.#reason = reason
    this.#emit(phase, guard)
  }

  #emit(event: RolloutEvent['event'], guard?: GuardName): void {
    const told: RolloutEvent = { event, ...this.status, ...(guard !== undefined && { guard }) }
    logEvent(this.#host.logger, told)
    this.#tryTo('tell of', () => this.#host.onEvent(told))
  }

  /** For what must not keep the rest from being done, nor fail the request that it happens in. */
  #tryTo(what: string, action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#host.logger.error(
        { err: error },
        `rollout of version ${this.plan.version}: could not ${what} it: ${messageOf(error)}`,
      )
    }
  }

  #elapsed(): number {
    return this.#elapsedMs + (this.#since === Infinity ? 0 : this.#host.clock.now() - this.#since)
  }

  #stopTime(): void {
    this.#timer?.clear()
    this.#timer = undefined
    this.#elapsedMs = this.#elapsed()
    this.#since = Infinity
  }

  /** Looks again when the step has had its shortest time, and ends it at its longest. */
  #wait(): void {
    const { minStepMs, maxStepMs } = this.plan
    const elapsedMs = this.#elapsed()
    const dueMs = elapsedMs < minStepMs ? minStepMs : maxStepMs
    if (dueMs === undefined) return
    this.#timer = this.#host.clock.setTimer(() => this.#due(), Math.max(0, dueMs - elapsedMs), {
      background: true,
    })
  }

  #due(): void {
    const { maxStepMs = Infinity } = this.plan
    const step = this.#step
    this.#look()
    if (this.#phase !== 'running' || this.#step !== step) return
    if (this.#elapsed() < maxStepMs) return this.#wait()
    const unsure = this.#guards.filter(({ passed }) => !passed).map(({ evidence }) => evidence.describe())
    const { requests } = this.#candidate
    this.#end('expired', `undecided after ${maxStepMs} ms and ${requests} requests: ${unsure.join('; ')}`)
  }
}
