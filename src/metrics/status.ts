import type { Registry } from 'prom-client'
import { Counter, Gauge } from 'prom-client'
import { branded, ownMetric } from './own-metric.js'

/** What is true of a version at the moment metrics are read. */
export interface VersionStatus {
  readonly model: string
  readonly version: string
  readonly state: string
  /** Rows that wait for a run. */
  readonly queueRows: number
  /** Requests that hold the version. */
  readonly inFlight: number
  /** Sessions that run its batches; 0 while it is not loaded. */
  readonly instances: number
  /** The batch size that pays for the inputs that ran last, and what it gains, once that is known. */
  readonly batch?: { readonly bestRows: number; readonly gain: number } | undefined
  /** Its share of the requests that name no version, of a canary. */
  readonly canaryRatio?: number | undefined
  /** The step of its rollout, from 1, while it is under way and judged here. */
  readonly rolloutStep?: number | undefined
  /** Times its session ended by itself. */
  readonly deaths: number
  /** Whether its files are no longer those that were loaded. */
  readonly changed: boolean
  readonly cache?: {
    readonly hits: number
    readonly misses: number
    readonly coalesced: number
    readonly stale: number
    readonly bytes: number
  }
}

export type StatusSource = () => Iterable<VersionStatus>

/** The metrics that are read from the versions. */
export const statusNames = [
  'model_version_state',
  'model_queue_rows',
  'model_requests_in_flight',
  'model_session_instances',
  'model_batch_best_rows',
  'model_batch_gain_ratio',
  'model_canary_ratio',
  'model_rollout_step',
  'model_cache_bytes',
  'model_version_changed',
  'model_worker_deaths_total',
  'model_cache_requests_total',
] as const

const sourcesKey = Symbol.for('mlserving.metrics.sources')

/**
 * Registers metrics that are read from the versions themselves at each scrape, and so cost a request nothing.
 * Several servings may share a registry: their values add up.
 *
 * @returns ends the source's part
 */
export function watchStatus(registry: Registry, source: StatusSource): () => void {
  const shelf = registry as Registry & { [sourcesKey]?: Set<StatusSource> }
  let sources = shelf[sourcesKey]
  if (sources === undefined) shelf[sourcesKey] = sources = new Set()
  // A host that cleared its registry has them no more.
  if (ownMetric(registry, statusNames[0]) === undefined) register(registry, sources)
  sources.add(source)
  return () => sources.delete(source)
}

function register(registry: Registry, sources: ReadonlySet<StatusSource>): void {
  const registers = [registry]
  const labels = ['model', 'model_version']
  const each = function* () {
    for (const source of sources) yield* source()
  }
  const labelsOf = ({ model, version }: VersionStatus) => ({ model, model_version: version })

  const state = new Gauge({
    name: 'model_version_state',
    help: '1 for the state that a version is in.',
    labelNames: [...labels, 'state'],
    registers,
    collect() {
      this.reset()
      for (const status of each()) this.set({ ...labelsOf(status), state: status.state }, 1)
    },
  })
  const gauge = (name: string, help: string, read: (status: VersionStatus) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: labels,
      registers,
      collect() {
        this.reset()
        for (const status of each()) {
          const value = read(status)
          if (value !== undefined) this.inc(labelsOf(status), value)
        }
      },
    })
  const queue = gauge('model_queue_rows', 'Rows that wait for a run.', (status) => status.queueRows)
  const inFlight = gauge(
    'model_requests_in_flight',
    'Requests that hold a version.',
    (status) => status.inFlight,
  )
  const batchRows = gauge(
    'model_batch_best_rows',
    'Rows of a batch that pay, for the inputs that ran last; 1 where batching does not.',
    (status) => status.batch?.bestRows,
  )
  const batchGain = gauge(
    'model_batch_gain_ratio',
    'How many times as many rows such batches give in the time of single ones.',
    (status) => status.batch?.gain,
  )
  const instances = gauge(
    'model_session_instances',
    'Sessions that run a version.',
    (status) => status.instances,
  )
  const cacheBytes = gauge('model_cache_bytes', 'Bytes of the answers kept.', (status) => status.cache?.bytes)

  const changed = gauge(
    'model_version_changed',
    '1 where the files of a version are no longer those that it was loaded from.',
    (status) => (status.changed ? 1 : 0),
  )
  const canaryRatio = gauge(
    'model_canary_ratio',
    'Share of the requests that name no version which goes to a canary.',
    (status) => status.canaryRatio,
  )
  const rolloutStep = gauge(
    'model_rollout_step',
    'Step of the rollout of a version that this process judges, from 1; none once it is over.',
    (status) => status.rolloutStep,
  )

  const deaths = new Counter({
    name: 'model_worker_deaths_total',
    help: 'Times the session of a version ended by itself.',
    labelNames: labels,
    registers,
    collect() {
      this.reset()
      for (const status of each()) this.inc(labelsOf(status), status.deaths)
    },
  })
  const cacheRequests = new Counter({
    name: 'model_cache_requests_total',
    help: 'Requests to the cache by how they were answered.',
    labelNames: [...labels, 'result'],
    registers,
    collect() {
      this.reset()
      for (const status of each()) {
        if (status.cache === undefined) continue
        const { hits, misses, coalesced, stale } = status.cache
        for (const [result, count] of Object.entries({ hit: hits, miss: misses, coalesced, stale })) {
          this.inc({ ...labelsOf(status), result }, count)
        }
      }
    },
  })
  for (const metric of [
    batchRows,
    batchGain,
    state,
    queue,
    inFlight,
    instances,
    cacheBytes,
    changed,
    canaryRatio,
    rolloutStep,
    deaths,
    cacheRequests,
  ])
    branded(metric)
}
