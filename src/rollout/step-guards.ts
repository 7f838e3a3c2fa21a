import { AgreementEvidence, ErrorEvidence, LatencyEvidence, type Comparisons } from './evidence.js'
import { Guard, type GuardState } from './guard.js'
import type { RolloutPlan } from './rollout-options.js'
import type { Sample } from './sample.js'

/**
 * The guards of a step. How often two versions agree does not depend on the share: that guard lasts for the whole
 * rollout. The chance of a breach by mistake is divided among all guards of all steps; that of passing by mistake is
 * not, since a bad version is promoted only where each of them is mistaken.
 *
 * @param agreementBefore the guard of the step before
 * @param states of guards that were stored, by name
 */
export function stepGuards(
  plan: RolloutPlan,
  candidate: Sample,
  stable: Sample,
  comparisons: Readonly<Comparisons>,
  agreementBefore?: Guard,
  states: Readonly<Record<string, GuardState>> = {},
): readonly Guard[] {
  const { errorRatio, latency, agreement } = plan.guards
  const { minRequests, significance: pass } = plan
  const guardCount = Object.values(plan.guards).filter((guard) => guard !== undefined).length
  const ofRollout = { breach: pass / guardCount, pass }
  const ofStep = { breach: ofRollout.breach / plan.steps.length, pass }
  const guards: Guard[] = []
  if (errorRatio !== undefined) {
    const evidence = new ErrorEvidence(errorRatio, candidate, stable)
    guards.push(new Guard('errorRatio', evidence, ofStep, minRequests, states.errorRatio))
  }
  if (latency !== undefined) {
    const evidence = new LatencyEvidence(latency, candidate, stable)
    guards.push(new Guard('latency', evidence, ofStep, minRequests, states.latency))
  }
  if (agreement !== undefined) {
    const evidence = new AgreementEvidence(agreement, comparisons)
    guards.push(agreementBefore ?? new Guard('agreement', evidence, ofRollout, minRequests, states.agreement))
  }
  return guards
}
