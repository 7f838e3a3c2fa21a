export interface HealthReport {
  readonly status: 'healthy'
  /** Seconds since the epoch, with a fraction. */
  readonly timestamp: number
}

export interface ReadinessReport {
  readonly status: 'ready' | 'not_ready'
  readonly timestamp: number
  /** What is missing; absent when ready. */
  readonly problems?: readonly string[]
}

/** Alive: the process can answer. True while draining as well, or an orchestrator would restart it. */
export function health(): HealthReport {
  return { status: 'healthy', timestamp: Date.now() / 1000 }
}

/** Ready: every model has a version that serves, and the serving is not closing. */
export function readiness(problems: readonly string[]): ReadinessReport {
  const timestamp = Date.now() / 1000
  return problems.length === 0 ? { status: 'ready', timestamp } : { status: 'not_ready', timestamp, problems }
}
