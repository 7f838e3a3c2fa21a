import type { Labels, Sample, Series } from './labelled-metric.js'

/** How often values fell under each of some bounds. */
export class Histogram implements Series {
  readonly #bounds: readonly number[]
  /** By bucket, the last without a bound; each value is in one. */
  readonly #counts: Float64Array
  #sum = 0

  /** @param bounds upper ones, inclusive, ascending */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  /** A value that is not finite is not counted. */
  observe(value: number): void {
    if (!Number.isFinite(value)) return
    let bucket = 0
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? Infinity)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += value
  }

  samples(metricName: string, labels: Labels): Sample[] {
    let count = 0
    const buckets = Array.from(this.#counts, (own, i) => {
      count += own
      const le = i < this.#bounds.length ? String(this.#bounds[i]) : '+Inf'
      return { metricName: `${metricName}_bucket`, labels: { le, ...labels }, value: count }
    })
    if (count === 0) return []
    return [
      ...buckets,
      { metricName: `${metricName}_sum`, labels, value: this.#sum },
      { metricName: `${metricName}_count`, labels, value: count },
    ]
  }

  reset(): void {
    this.#counts.fill(0)
    this.#sum = 0
  }
}
