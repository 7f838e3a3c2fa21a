/** What mlserving does beyond its capacity, and what its cache costs. */
import { median } from '../statistics.js'
import { figure, table, times } from './table.js'

/** @typedef {import('./write.js').Measured} Measured */

/** @param {Measured} measured */
export function underOverload({ overloads, models }) {
  if (overloads.length === 0) return undefined
  const columns = overloads.map(
    ({ deadlineMs, peakPerSecond, offeredPerSecond, seconds, figures, residentMb: [before, after] }) => ({
      'peak in a closed loop, answers/s': figure(peakPerSecond),
      'offered, requests/s': figure(offeredPerSecond),
      'deadline, ms': figure(deadlineMs),
      'answers in time/s': figure(figures.goodPerSecond),
      'to the peak': times(figures.goodPerSecond / peakPerSecond),
      'answered: p50 / p99, ms': `${figure(figures.p50Ms)} / ${figure(figures.p99Ms)}`,
      'refused, after a median of': `${figures.refused}, ${figure(figures.refusalP50Ms)} ms`,
      'deadline passed while waiting': `${figures.expired}`,
      failed: `${figures.failed}`,
      '`/health` p99, ms': figure(figures.healthP99Ms ?? NaN),
      'memory before, after, MB': `${figure(before)}, ${figure(after)}`,
      seconds: `${seconds}`,
    }),
  )
  const rows = Object.keys(columns[0] ?? {}).map((name) => [
    name,
    ...columns.map((column) => column[/** @type {keyof typeof column} */ (name)]),
  ])
  const titles = overloads.map(({ model }) => models.find(({ name }) => name === model)?.title ?? model)
  return [
    '## Three times what it can answer',
    'mlserving on Fastify, an open loop, each request with a deadline. Latency of answers counts from when a request was meant to start, that of refusals from when it was sent.',
    table(['', ...titles], rows),
  ].join('\n\n')
}

/** @param {Measured} measured */
export function costOfCache({ caches, models }) {
  if (caches.length === 0) return undefined
  const rows = caches.map(({ model, concurrency, off, on }) => {
    const ratio = (/** @type {'requestsPerSecond' | 'cpuMs'} */ name) =>
      times(median(on.map((round, i) => round[name] / (off[i]?.[name] ?? NaN))))
    return [
      models.find(({ name }) => name === model)?.title ?? model,
      `${concurrency}`,
      figure(median(off.map(({ requestsPerSecond }) => requestsPerSecond))),
      figure(median(on.map(({ requestsPerSecond }) => requestsPerSecond))),
      ratio('requestsPerSecond'),
      ratio('cpuMs'),
    ]
  })
  return [
    '## A cache that never hits',
    'mlserving on Fastify with `cache: true` and keys that are all different, relative to none.',
    table(['', 'concurrency', 'requests/s without', 'with', 'to without', 'CPU a request, to without'], rows),
  ].join('\n\n')
}
