import type { Registry } from 'prom-client'
import { branded, ownMetric } from './own-metric.js'

export type Labels = Readonly<Record<string, string>>

/** One line of a metric in Prometheus' text format. */
export interface Sample {
  readonly labels: Labels
  readonly value: number
  /** Default: the metric's own. */
  readonly metricName?: string
}

/** What is counted under one set of labels. */
export interface Series {
  /** None where nothing was counted. */
  samples(metricName: string, labels: Labels): Sample[]
  reset(): void
}

/**
 * A metric of prom-client's registry whose series are counted by whoever holds them: counting is an addition,
 * rather than a look-up by labels (0.01 us against 0.26), and the registry reads them at the scrape.
 */
export class LabelledMetric<S extends Series> {
  readonly aggregator = 'sum'
  readonly #series = new Map<string, { readonly labels: Labels; readonly series: S }>()
  readonly #create: () => S

  private constructor(
    /** Changed by the registry where it writes OpenMetrics. */
    public name: string,
    readonly help: string,
    readonly type: 'counter' | 'histogram',
    create: () => S,
  ) {
    this.#create = create
  }

  /**
   * The metric of that name in a registry: a second serving counts in the same one, rather than failing on its name.
   * @throws ServingError INVALID_OPTIONS where the host has one of its own of that name
   */
  static in<S extends Series>(
    registry: Registry,
    { name, help, type }: Pick<LabelledMetric<S>, 'name' | 'help' | 'type'>,
    create: () => S,
  ): LabelledMetric<S> {
    const found: unknown = ownMetric(registry, name)
    if (found !== undefined) return found as LabelledMetric<S>
    const metric = branded(new LabelledMetric(name, help, type, create))
    // prom-client's own classes are declared, and what it calls of them is what this class has.
    registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
    return metric
  }

  /** What is counted under these labels, to be held on to. */
  seriesOf(labels: Labels): S {
    const key = JSON.stringify(labels)
    let found = this.#series.get(key)
    if (found === undefined) this.#series.set(key, (found = { labels, series: this.#create() }))
    return found.series
  }

  /** What the registry reads. */
  async get() {
    const { name, help, type, aggregator } = this
    const values = [...this.#series.values()].flatMap(({ labels, series }) => series.samples(name, labels))
    return { name, help, type, aggregator, values }
  }

  /** Sets all counts to zero: those who hold series count on. */
  reset(): void {
    for (const { series } of this.#series.values()) series.reset()
  }
}
