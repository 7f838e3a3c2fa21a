import { Gauge, type Registry } from 'prom-client'
import { branded, ownMetric } from './own-metric.js'

export const generationName = 'model_state_generation'

/** The generation of the state that replicas share, as far as this process has seen it; undefined where it is alone. */
export type GenerationSource = () => number | undefined

const sourcesKey = Symbol.for('mlserving.metrics.generations')

/**
 * Registers the gauge of the generation, read at each scrape. Of several servings on a registry it is the highest.
 *
 * @returns ends the source's part
 */
export function watchGeneration(registry: Registry, source: GenerationSource): () => void {
  const shelf = registry as Registry & { [sourcesKey]?: Set<GenerationSource> }
  let sources = shelf[sourcesKey]
  if (sources === undefined) shelf[sourcesKey] = sources = new Set()
  // A host that cleared its registry has it no more.
  if (ownMetric(registry, generationName) === undefined) register(registry, sources)
  sources.add(source)
  return () => sources.delete(source)
}

function register(registry: Registry, sources: ReadonlySet<GenerationSource>): void {
  const gauge = new Gauge({
    name: generationName,
    help: 'Generation of the state that replicas share, as far as this process has seen it.',
    registers: [registry],
    collect() {
      const generations = [...sources].map((source) => source()).filter((each) => each !== undefined)
      if (generations.length === 0) this.remove()
      else this.set(Math.max(...generations))
    },
  })
  branded(gauge)
}
