import type { Logger } from '../logger.js'
import type { RolloutEvent } from './rollout-host.js'

const levels = {
  step: 'info',
  resumed: 'info',
  paused: 'warn',
  promoting: 'info',
  promoted: 'info',
  'rolled-back': 'error',
  expired: 'warn',
  aborted: 'warn',
  failed: 'error',
} as const satisfies Record<RolloutEvent['event'], 'info' | 'warn' | 'error'>

/** One line for an event of a rollout, with all its figures. */
export function logEvent(logger: Logger, told: RolloutEvent): void {
  const { event, version, step, steps, percent, reason } = told
  const what = event === 'step' ? `step ${step} of ${steps}, ${percent} % of the traffic` : event
  logger[levels[event]](
    told,
    `rollout of version ${version}: ${what}${reason === undefined ? '' : `: ${reason}`}`,
  )
}
