import { Gauge, Registry } from 'prom-client'
import { metricStatus, ServingError } from '../errors.js'
import { Count } from './count.js'
import { eventLoopName, watchEventLoop } from './event-loop.js'
import { generationName, watchGeneration, type GenerationSource } from './generation.js'
import { Histogram } from './histogram.js'
import { LabelledMetric, type Labels } from './labelled-metric.js'
import type { ModelChange } from '../models/changes.js'
import type { RolloutPhase } from '../rollout/rollout-host.js'
import { branded, ownMetric } from './own-metric.js'
import { ShadowMetrics, shadowNames, type ShadowObservation } from './shadow.js'
import { VersionStatistics, type AnswerTimes } from './statistics.js'
import { statusNames, watchStatus, type StatusSource } from './status.js'

/** What the metrics are told of a request that was answered. */
export interface AnswerObservation extends AnswerTimes {
  readonly model: string
  readonly version: string
  readonly confidence?: unknown
}

/** What the metrics are told of a request that failed. */
export interface FailureObservation {
  /** A model and a version that exist; else they are left out, and labelled `unknown`. */
  readonly model?: string | undefined
  readonly version?: string | undefined
  readonly latencyMs: number
  readonly error: ServingError
}

const unknown = 'unknown'

/** The metrics that are counted here. */
const names = [
  'model_requests_total',
  'model_rejected_total',
  'model_request_latency_seconds',
  'model_queue_seconds',
  'model_compute_seconds',
  'model_first_item_seconds',
  'model_batch_rows',
  'prediction_confidence',
  'model_load_time_seconds',
  'model_load_failures_total',
  'model_config_failures_total',
  'model_changes_total',
  'model_rollouts_total',
]

const latencyBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5,
]
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
const confidenceBuckets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]

/** What one version's requests and runs are counted in. */
interface VersionSeries {
  readonly labels: Labels
  readonly latency: Histogram
  readonly queueTime: Histogram
  readonly computeTime: Histogram
  readonly firstItemTime: Histogram
  readonly batchRows: Histogram
  readonly confidence: Histogram
  readonly success: Count
  readonly statistics: VersionStatistics
}

/** The serving's Prometheus metrics, in a registry of its own unless the host gives one. */
export class Metrics {
  readonly registry: Registry
  readonly #requests: LabelledMetric<Count>
  readonly #rejected: LabelledMetric<Count>
  readonly #changes: LabelledMetric<Count>
  readonly #rollouts: LabelledMetric<Count>
  readonly #histograms: Readonly<
    Record<keyof Omit<VersionSeries, 'labels' | 'success' | 'statistics'>, LabelledMetric<Histogram>>
  >
  readonly #shadow: ShadowMetrics
  readonly #loadTime: Gauge
  readonly #loadFailures: LabelledMetric<Count>
  readonly #configFailures: LabelledMetric<Count>
  /** By model, then version. */
  readonly #series = new Map<string, Map<string, VersionSeries>>()
  readonly #ends: (() => void)[]

  /**
   * @param status what the versions are, read at each scrape
   * @param generation that of the state of the replicas, read at each scrape
   * @throws ServingError INVALID_OPTIONS where the registry has metrics of its own by these names
   */
  constructor(
    registry: Registry = new Registry(),
    status: StatusSource = () => [],
    generation: GenerationSource = () => undefined,
  ) {
    this.registry = registry
    // All before any is made: a registry that is refused is left as it was.
    for (const name of [...names, ...shadowNames, ...statusNames, eventLoopName, generationName])
      ownMetric(registry, name)
    const counter = (name: string, help: string) =>
      LabelledMetric.in(registry, { name, help, type: 'counter' }, () => new Count())
    const histogram = (name: string, help: string, bounds: readonly number[]) =>
      LabelledMetric.in(registry, { name, help, type: 'histogram' }, () => new Histogram(bounds))

    this.#requests = counter('model_requests_total', 'Predictions asked for, by outcome.')
    this.#rejected = counter(
      'model_rejected_total',
      'Predictions that were refused or given up before they cost a run, by reason.',
    )
    this.#changes = counter('model_changes_total', 'Changes of what a model serves, by action and result.')
    this.#rollouts = counter(
      'model_rollouts_total',
      'Rollouts that this process judged to their end, by result.',
    )
    this.#histograms = {
      latency: histogram(
        'model_request_latency_seconds',
        'Time from the arrival of a prediction to its answer.',
        latencyBuckets,
      ),
      queueTime: histogram('model_queue_seconds', 'Time a request waited for its run.', latencyBuckets),
      computeTime: histogram('model_compute_seconds', 'Time a run took in the runtime.', latencyBuckets),
      firstItemTime: histogram(
        'model_first_item_seconds',
        'Time from the arrival of a prediction to the first item of its stream.',
        latencyBuckets,
      ),
      batchRows: histogram('model_batch_rows', 'Rows of a run.', batchBuckets),
      confidence: histogram(
        'prediction_confidence',
        'Confidence of predictions that have one.',
        confidenceBuckets,
      ),
    }
    this.#shadow = new ShadowMetrics(registry)
    this.#loadTime = loadTimeGauge(registry)
    this.#loadFailures = counter('model_load_failures_total', 'Loads of a version that failed.')
    this.#configFailures = counter(
      'model_config_failures_total',
      'Times the model.json of a model could not be read or had a wrong entry.',
    )
    this.#ends = [
      watchStatus(registry, status),
      watchEventLoop(registry),
      watchGeneration(registry, generation),
    ]
  }

  /** What was counted last, since one request is counted in several. */
  #last: VersionSeries | undefined

  #seriesOf(model: string, version: string): VersionSeries {
    const last = this.#last
    if (last?.labels.model === model && last.labels.model_version === version) return last
    return (this.#last = this.#find(model, version))
  }

  #find(model: string, version: string): VersionSeries {
    let versions = this.#series.get(model)
    if (versions === undefined) this.#series.set(model, (versions = new Map<string, VersionSeries>()))
    let series = versions.get(version)
    if (series === undefined) versions.set(version, (series = this.#begin(model, version)))
    return series
  }

  #begin(model: string, version: string): VersionSeries {
    const labels = { model, model_version: version }
    const { latency, queueTime, computeTime, firstItemTime, batchRows, confidence } = this.#histograms
    return {
      labels,
      latency: latency.seriesOf(labels),
      queueTime: queueTime.seriesOf(labels),
      computeTime: computeTime.seriesOf(labels),
      firstItemTime: firstItemTime.seriesOf(labels),
      batchRows: batchRows.seriesOf(labels),
      confidence: confidence.seriesOf(labels),
      success: this.#requests.seriesOf({ ...labels, status: metricStatus() }),
      statistics: new VersionStatistics(),
    }
  }

  /** What was counted of a version; undefined where nothing was. */
  statisticsOf(model: string, version: string): VersionStatistics | undefined {
    return this.#series.get(model)?.get(version)?.statistics
  }

  /** Counts a request whose answer comes item by item, when its first is there. */
  firstItem(model: string, version: string, firstItemMs: number): void {
    this.#seriesOf(model, version).firstItemTime.observe(firstItemMs / 1000)
  }

  /** Counts a run of one or more requests. */
  ran(model: string, version: string, rows: number, computeMs: number): void {
    const { computeTime, batchRows, statistics } = this.#seriesOf(model, version)
    statistics.ran(rows, computeMs)
    computeTime.observe(computeMs / 1000)
    batchRows.observe(rows)
  }

  /** Counts a request that was answered. @param now on the clock of `performance.now()` */
  answered(answer: AnswerObservation, now: number): void {
    const { model, version, latencyMs, queueMs, cache, confidence } = answer
    const series = this.#seriesOf(model, version)
    series.statistics.answered(answer, now)
    if (cache !== 'hit' && cache !== 'stale') series.queueTime.observe(queueMs / 1000)
    series.latency.observe(latencyMs / 1000)
    series.success.add()
    if (typeof confidence === 'number') series.confidence.observe(confidence)
    else if (Array.isArray(confidence)) {
      for (const value of confidence as unknown[])
        if (typeof value === 'number') series.confidence.observe(value)
    }
  }

  /** Counts a request that failed. */
  failed({ model = unknown, version = unknown, latencyMs, error }: FailureObservation): void {
    const { latency, labels, statistics } = this.#seriesOf(model, version)
    latency.observe(latencyMs / 1000)
    statistics.failed(latencyMs)
    const status = metricStatus(error)
    this.#requests.seriesOf({ ...labels, status }).add()
    if (
      !ServingError.is(error, 'QUEUE_FULL', 'OVERLOADED', 'TIMEOUT', 'ABORTED', 'MODEL_NOT_READY', 'CLOSED')
    )
      return
    this.#rejected.seriesOf({ ...labels, reason: status }).add()
  }

  /** Counts a copy of a request that a shadow was given, or was not. */
  shadowed(model: string, version: string, observation: ShadowObservation): void {
    this.#shadow.copied(model, version, observation)
  }

  loaded(model: string, version: string, loadTimeMs: number): void {
    this.#loadTime.set({ model, model_version: version }, loadTimeMs / 1000)
  }

  loadFailed(model: string, version: string): void {
    this.#loadFailures.seriesOf({ model, model_version: version }).add()
  }

  configFailed(model: string): void {
    this.#configFailures.seriesOf({ model }).add()
  }

  /** Counts a change of what a model serves; `model` is undefined where there is none of that name. */
  changed(model: string | undefined, { action, result }: Pick<ModelChange, 'action' | 'result'>): void {
    this.#changes.seriesOf({ model: model ?? unknown, action, result }).add()
  }

  /** Counts the end of a rollout. */
  rolledOut(model: string, version: string, result: RolloutPhase): void {
    this.#rollouts.seriesOf({ model, model_version: version, result }).add()
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

/** A second serving on the same registry sets the same gauge, rather than failing on its name. */
function loadTimeGauge(registry: Registry): Gauge {
  const name = 'model_load_time_seconds'
  const found = ownMetric(registry, name) as Gauge | undefined
  const help = 'Time the last load of a version took.'
  const labelNames = ['model', 'model_version']
  return found ?? branded(new Gauge({ name, help, labelNames, registers: [registry] }))
}
