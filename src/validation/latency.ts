/** Quantiles of latencies, in milliseconds. */
export interface LatencyQuantiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** The quantiles of some latencies by nearest rank, each one that was measured; 0 of none. */
export function quantilesOf(latenciesMs: readonly number[]): LatencyQuantiles {
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  const at = (quantile: number) => sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? 0
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}
