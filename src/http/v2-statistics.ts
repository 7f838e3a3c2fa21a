import { VersionStatistics, type Tally } from '../metrics/statistics.js'
import type { AnyServing } from '../serving.js'
import { json, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'

/** How often something was done, and how many nanoseconds it took in all. */
export interface DurationStatistics {
  readonly count: number
  readonly ns: number
}

/** What the protocol counts of a version since the process began. */
export interface ModelStatistics {
  readonly name: string
  readonly version: string
  /** When the last request was over, in milliseconds since 1970; 0 where there was none. */
  readonly last_inference: number
  /** Rows that were computed. */
  readonly inference_count: number
  /** Runs that computed them. */
  readonly execution_count: number
  readonly inference_stats: Readonly<Record<InferenceDuration, DurationStatistics>>
  /** Runs by their rows, the smallest first. */
  readonly batch_stats: readonly (Readonly<Record<ComputeDuration, DurationStatistics>> & {
    readonly batch_size: number
  })[]
}

type ComputeDuration = 'compute_input' | 'compute_infer' | 'compute_output'
type InferenceDuration = ComputeDuration | 'success' | 'fail' | 'queue' | 'cache_hit' | 'cache_miss'

/**
 * Of all versions that are loaded; or of those of a model, or of the one asked for by name or label, loaded or not.
 * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND
 */
export function modelStatistics(
  serving: AnyServing,
  model?: string,
  version?: string,
): { readonly model_stats: readonly ModelStatistics[] } {
  const { models } = serving
  const named = model !== undefined && version !== undefined ? models.versionOf(model, version) : undefined
  const snapshots = model === undefined ? models.list() : [models.get(model)]
  return {
    model_stats: snapshots.flatMap(({ name, versions }) =>
      versions
        .filter((each) => (named === undefined ? isLoaded(each) : each.version === named))
        .map((each) => statisticsOf(serving, name, each.version)),
    ),
  }
}

function isLoaded({ state }: { readonly state: string }): boolean {
  return state === 'ready' || state === 'draining'
}

function statisticsOf({ metrics }: AnyServing, name: string, version: string): ModelStatistics {
  const counted = metrics.statisticsOf(name, version) ?? new VersionStatistics()
  const runs = [...counted.runs].sort(([a], [b]) => a - b)
  const { success, fail, queue, compute, cacheHit, cacheMisses, lastAt } = counted
  return {
    name,
    version,
    last_inference: lastAt === undefined ? 0 : Math.round(performance.timeOrigin + lastAt),
    inference_count: runs.reduce((sum, [rows, { count }]) => sum + rows * count, 0),
    execution_count: runs.reduce((sum, [, { count }]) => sum + count, 0),
    inference_stats: {
      success: duration(success),
      fail: duration(fail),
      queue: duration(queue),
      ...computed(compute),
      cache_hit: duration(cacheHit),
      cache_miss: { count: cacheMisses, ns: 0 },
    },
    batch_stats: runs.map(([rows, run]) => ({ batch_size: rows, ...computed(run) })),
  }
}

/** What the inputs and outputs take beside the run is not measured. */
function computed(run: Tally): Readonly<Record<ComputeDuration, DurationStatistics>> {
  const { count } = run
  return { compute_input: { count, ns: 0 }, compute_infer: duration(run), compute_output: { count, ns: 0 } }
}

function duration({ count, ms }: Tally): DurationStatistics {
  return { count, ns: Math.round(ms * 1e6) }
}

export async function getV2Statistics({ serving, request }: Exchange): Promise<HttpResponse> {
  if (!serving.models.isListed) await serving.models.listed()
  const { model, version } = request.params
  return json(200, modelStatistics(serving, model, version))
}
