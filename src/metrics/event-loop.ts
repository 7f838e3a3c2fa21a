import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'

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
  const measure = measures.get(registry) ?? register(registry)
  if (measure.users++ === 0) measure.histogram.enable()
  return () => {
    if (--measure.users === 0) measure.histogram.disable()
  }
}

function register(registry: Registry): Measure {
  const histogram = monitorEventLoopDelay({ resolution: 10 })
  const measure = { histogram, users: 0 }
  measures.set(registry, measure)
  const name = 'event_loop_delay_seconds'
  // Another copy of the package may have registered it.
  if (registry.getSingleMetric(name) !== undefined) return measure
  new Gauge({
    name,
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
  return measure
}
