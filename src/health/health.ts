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
  /** What is wrong although it is ready. */
  readonly warnings?: readonly string[]
  /** Of the replicas' shared state, as far as this one has seen it. */
  readonly generation?: number
}

/** Alive: the process can answer. True while draining as well, or an orchestrator would restart it. */
export function health(): HealthReport {
  return { status: 'healthy', timestamp: Date.now() / 1000 }
}

/** Ready: every model has a version that serves, and the serving is not closing. */
export function readiness(
  problems: readonly string[],
  replicas?: { readonly generation: number; readonly problem: string | undefined },
): ReadinessReport {
  return {
    status: problems.length === 0 ? 'ready' : 'not_ready',
    timestamp: Date.now() / 1000,
    ...(problems.length > 0 && { problems }),
    // No reason to be unready: all replicas share it, and would leave together.
    ...(replicas?.problem !== undefined && { warnings: [replicas.problem] }),
    ...(replicas !== undefined && { generation: replicas.generation }),
  }
}
