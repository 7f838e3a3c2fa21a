import type { Labels, Sample, Series } from './labelled-metric.js'

/** How often something happened. */
export class Count implements Series {
  #value = 0

  add(): void {
    this.#value++
  }

  samples(_metricName: string, labels: Labels): Sample[] {
    return this.#value === 0 ? [] : [{ labels, value: this.#value }]
  }

  reset(): void {
    this.#value = 0
  }
}
