import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'
import { branded, ownMetric } from './own-metric.js'

export const eventLoopName = 'event_loop_delay_seconds'

interface Measure {
  readonly histogram: IntervalHistogram
  users: number
}

const measures = new WeakMap<Registry, Measure>()

/**
 * Measures how late the event loop runs its timers, over the time since the last scrape, by quantile. One measure a
 * registry, however many servings share it.
 *
 * @returns ends the measure, with its last user
 */
export function watchEventLoop(registry: Registry): () => void {
  let measure = measures.get(registry)
  if (measure === undefined) {
    measure = { histogram: monitorEventLoopDelay({ resolution: 10 }), users: 0 }
    measures.set(registry, measure)
  }
  // Another copy of the package may have registered it; a host that cleared its registry has it no more.
  if (ownMetric(registry, eventLoopName) === undefined) register(registry, measure.histogram)
  if (measure.users++ === 0) measure.histogram.enable()
  return () => {
    if (--measure.users === 0) measure.histogram.disable()
  }
}

function register(registry: Registry, histogram: IntervalHistogram): void {
  const gauge = new Gauge({
    name: eventLoopName,
    help: 'How late the event loop ran its timers since the last scrape.',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      for (const quantile of [0.5, 0.99, 1]) {
        const delayNs = histogram.count === 0 ? 0 : histogram.percentile(quantile * 100)
        this.set({ quantile: `${quantile}` }, delayNs / 1e9)
      }
      histogram.reset()
    },
  })
  branded(gauge)
}
