import { AggregatorRegistry, Histogram as PromHistogram, Registry } from 'prom-client'
import { expect, it } from 'vitest'
import { Count } from '../../src/metrics/count.js'
import { Histogram } from '../../src/metrics/histogram.js'
import { LabelledMetric } from '../../src/metrics/labelled-metric.js'

const bounds = [0.1, 0.5, 1]
const values = [0, 0.1, 0.11, 0.5, 1, 1.5, 7]

it("a histogram is written as prom-client's own", async () => {
  const [ours, theirs] = [new Registry(), new Registry()]
  const metric = LabelledMetric.in(
    ours,
    { name: 'h', help: 'a test', type: 'histogram' },
    () => new Histogram(bounds),
  )
  const own = new PromHistogram({
    name: 'h',
    help: 'a test',
    labelNames: ['m'],
    buckets: bounds,
    registers: [theirs],
  })
  for (const m of ['a', 'b "quoted" \\ \n']) {
    for (const value of values) {
      metric.seriesOf({ m }).observe(value)
      own.observe({ m }, value)
    }
  }
  expect(await ours.metrics()).toBe(await theirs.metrics())
  ours.resetMetrics()
  metric.seriesOf({ m: 'a' }).observe(1)
  theirs.resetMetrics()
  own.observe({ m: 'a' }, 1)
  expect(await ours.metrics()).toBe(await theirs.metrics())
})

it('what is not finite is not counted, and what was never counted is not written', async () => {
  const registry = new Registry()
  const metric = LabelledMetric.in(
    registry,
    { name: 'h', help: 'h', type: 'histogram' },
    () => new Histogram(bounds),
  )
  for (const value of [NaN, Infinity, -Infinity]) metric.seriesOf({}).observe(value)
  expect(await registry.metrics()).not.toContain('h_count')
})

it('counts add up over the workers of a cluster', async () => {
  const registries = [new Registry(), new Registry()]
  for (const registry of registries) {
    const count = LabelledMetric.in(
      registry,
      { name: 'c_total', help: 'c', type: 'counter' },
      () => new Count(),
    )
    count.seriesOf({ m: 'a' }).add()
    count.seriesOf({ m: 'a' }).add()
    const times = LabelledMetric.in(
      registry,
      { name: 'h', help: 'h', type: 'histogram' },
      () => new Histogram(bounds),
    )
    times.seriesOf({ m: 'a' }).observe(0.3)
  }
  const parts = await Promise.all(registries.map((registry) => registry.getMetricsAsJSON()))
  const text = await AggregatorRegistry.aggregate(parts).metrics()
  expect(text).toContain('c_total{m="a"} 4')
  expect(text).toContain('h_bucket{le="0.5",m="a"} 2')
  expect(text).toContain('h_count{m="a"} 2')
})

it('is written as OpenMetrics where the registry does so', async () => {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const metric = { name: 'c_total', help: 'c', type: 'counter' } as const
  LabelledMetric.in(registry, metric, () => new Count())
    .seriesOf({ m: 'a' })
    .add()
  expect(await registry.metrics()).toBe('# HELP c c\n# TYPE c counter\nc_total{m="a"} 1\n# EOF\n')
})
