import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { metricStatus, type ServingError } from '../errors.js'
import { watchEventLoop } from './event-loop.js'
import { watchStatus, type StatusSource } from './status.js'

/** What the metrics are told of one request, when it is over. */
export interface RequestObservation {
  /** A model and a version that exist; else they are left out, and labelled `unknown`. */
  readonly model?: string | undefined
  readonly version?: string | undefined
  readonly latencyMs: number
  readonly error?: ServingError | undefined
  readonly confidence?: unknown
}

const unknown = 'unknown'

const latencyBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5,
]
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
const confidenceBuckets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]

/** The serving's Prometheus metrics, in a registry of its own unless the host gives one. */
export class Metrics {
  readonly registry: Registry
  readonly #requests: Counter
  readonly #latency: Histogram
  readonly #loadTime: Gauge
  readonly #confidence: Histogram
  readonly #queueTime: Histogram
  readonly #computeTime: Histogram
  readonly #batchRows: Histogram
  readonly #ends: (() => void)[]

  /** @param status what the versions are, read at each scrape */
  constructor(registry: Registry = new Registry(), status: StatusSource = () => []) {
    this.registry = registry
    this.#ends = [watchStatus(registry, status), watchEventLoop(registry)]
    const registers = [registry]
    const labelNames = ['model', 'model_version']
    this.#requests = metric(registry, 'model_requests_total', (name) => {
      const help = 'Predictions asked for, by outcome.'
      return new Counter({ name, help, labelNames: [...labelNames, 'status'], registers })
    })
    this.#latency = metric(registry, 'model_request_latency_seconds', (name) => {
      const help = 'Time from the arrival of a prediction to its answer.'
      return new Histogram({ name, help, labelNames, buckets: latencyBuckets, registers })
    })
    this.#loadTime = metric(registry, 'model_load_time_seconds', (name) => {
      const help = 'Time the last load of a version took.'
      return new Gauge({ name, help, labelNames, registers })
    })
    this.#queueTime = metric(registry, 'model_queue_seconds', (name) => {
      const help = 'Time a request waited for its run.'
      return new Histogram({ name, help, labelNames, buckets: latencyBuckets, registers })
    })
    this.#computeTime = metric(registry, 'model_compute_seconds', (name) => {
      const help = 'Time a run took in the runtime.'
      return new Histogram({ name, help, labelNames, buckets: latencyBuckets, registers })
    })
    this.#batchRows = metric(registry, 'model_batch_rows', (name) => {
      const help = 'Rows of a run.'
      return new Histogram({ name, help, labelNames, buckets: batchBuckets, registers })
    })
    this.#confidence = metric(registry, 'prediction_confidence', (name) => {
      const help = 'Confidence of predictions that have one.'
      return new Histogram({ name, help, labelNames, buckets: confidenceBuckets, registers })
    })
  }

  /** Counts a request that was computed, rather than answered by the cache. */
  queued(model: string, version: string, queueMs: number): void {
    this.#queueTime.observe({ model, model_version: version }, queueMs / 1000)
  }

  /** Counts a run of one or more requests. */
  ran(model: string, version: string, rows: number, computeMs: number): void {
    const labels = { model, model_version: version }
    this.#computeTime.observe(labels, computeMs / 1000)
    this.#batchRows.observe(labels, rows)
  }

  request({ model = unknown, version = unknown, latencyMs, error, confidence }: RequestObservation): void {
    this.#requests.inc({ model, model_version: version, status: metricStatus(error) })
    this.#latency.observe({ model, model_version: version }, latencyMs / 1000)
    for (const value of Array.isArray(confidence) ? (confidence as unknown[]) : [confidence]) {
      if (typeof value === 'number') this.#confidence.observe({ model, model_version: version }, value)
    }
  }

  loaded(model: string, version: string, loadTimeMs: number): void {
    this.#loadTime.set({ model, model_version: version }, loadTimeMs / 1000)
  }

  /** Ends what reads the serving at a scrape; what was counted stays in the registry. */
  close(): void {
    for (const end of this.#ends) end()
  }

  /** The registry's metrics in Prometheus' text format, and its content type. */
  async exposition(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() }
  }
}

/** A second serving on the same registry counts in the same metrics, rather than failing on their names. */
function metric<M>(registry: Registry, name: string, create: (name: string) => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? create(name)
}
