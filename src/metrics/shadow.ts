import type { Registry } from 'prom-client'
import { Count } from './count.js'
import { Histogram } from './histogram.js'
import { LabelledMetric } from './labelled-metric.js'

/** What the metrics are told of one copy of a request. */
export interface ShadowObservation {
  readonly result: 'agreed' | 'disagreed' | 'failed' | 'dropped' | 'skipped'
  /** Between numbers of both answers, where there were any. */
  readonly distance?: number | undefined
  /** From the copy's turn to its answer, where it was run. */
  readonly latencyMs?: number
}

export const shadowNames = [
  'model_shadow_requests_total',
  'model_shadow_distance',
  'model_shadow_latency_seconds',
] as const

const distanceBuckets = [0.000001, 0.00001, 0.0001, 0.001, 0.01, 0.1, 1, 10, 100]
const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5]

/** What shadows make of the copies they are given. */
export class ShadowMetrics {
  readonly #requests: LabelledMetric<Count>
  readonly #distance: LabelledMetric<Histogram>
  readonly #latency: LabelledMetric<Histogram>

  /** @throws ServingError INVALID_OPTIONS where the registry has metrics of its own by these names */
  constructor(registry: Registry) {
    const [requests, distance, latency] = shadowNames
    this.#requests = LabelledMetric.in(
      registry,
      { name: requests, help: 'Copies of requests for a shadow, by what became of them.', type: 'counter' },
      () => new Count(),
    )
    this.#distance = LabelledMetric.in(
      registry,
      { name: distance, help: "How far a shadow's numbers are from the answer's.", type: 'histogram' },
      () => new Histogram(distanceBuckets),
    )
    this.#latency = LabelledMetric.in(
      registry,
      { name: latency, help: 'Time a shadow took for a copy of a request.', type: 'histogram' },
      () => new Histogram(latencyBuckets),
    )
  }

  copied(model: string, version: string, { result, distance, latencyMs }: ShadowObservation): void {
    const labels = { model, model_version: version }
    this.#requests.seriesOf({ ...labels, result }).add()
    if (distance !== undefined) this.#distance.seriesOf(labels).observe(distance)
    if (latencyMs !== undefined) this.#latency.seriesOf(labels).observe(latencyMs / 1000)
  }
}
