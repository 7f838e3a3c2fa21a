import type { Comparisons } from './evidence.js'
import type { GuardName } from './guard.js'
import type { RolloutFigures, RolloutStatus, VersionFigures } from './rollout-host.js'
import type { RolloutPlan } from './rollout-options.js'
import type { RolloutState } from './rollout-state.js'
import { Sample } from './sample.js'

/** What both versions did, for people. */
export function figuresOf(
  plan: RolloutPlan,
  candidate: Sample,
  stable: Sample,
  comparisons: Readonly<Comparisons>,
): RolloutFigures {
  const quantile = plan.guards.latency?.quantile ?? 0.95
  const of = ({ requests, failures, latencies }: Sample): VersionFigures => ({
    requests,
    failures,
    ...(latencies.total > 0 && { latencyMs: latencies.quantileMs(quantile).most }),
  })
  return { candidate: of(candidate), stable: of(stable), ...comparisons }
}

/** How a rollout stood that was stored. */
export function statusOf({
  plan,
  phase,
  reason,
  step,
  candidate,
  stable,
  comparisons,
  guards,
}: RolloutState): RolloutStatus {
  return {
    version: plan.version,
    phase,
    step: step + 1,
    steps: plan.steps.length,
    percent: plan.steps[step] ?? 100,
    ...(reason !== undefined && { reason }),
    passed: Object.keys(guards).filter((name) => guards[name]?.passed === true) as GuardName[],
    figures: figuresOf(plan, new Sample(candidate), new Sample(stable), comparisons),
  }
}
