/** What mlserving is held against: the limit, naive code, and servers of Python. */
import { serverCatalog } from '../servers/catalog.js'
import { median } from '../statistics.js'
import { measuredServers, shownConcurrency, titleOf } from './summary.js'
import { figure, table, times } from './table.js'

/** @typedef {import('./write.js').Measured} Measured */

const pairs = [
  { server: 'mlservingFastify', limit: 'bareFastify' },
  { server: 'mlservingExpress', limit: 'bareExpress' },
]

/**
 * The least that a server of Node can pay: a bare route with the same bodies, and a row of the runtime alone at the
 * batch size where it costs least.
 * @param {Measured} measured
 */
export function againstLimit(measured) {
  const { models, results } = measured
  const concurrency = shownConcurrency(measured)
  const servers = measuredServers(measured)
  const rows = pairs
    .filter(({ server, limit }) => servers.includes(server) && servers.includes(limit))
    .flatMap(({ server, limit }) =>
      models.map(({ name: model, title, batches }) => {
        const best = batches.reduce((a, b) => (b.cpuMsPerRow < a.cpuMsPerRow ? b : a))
        const cell = { model, server, concurrency }
        const bare = { model, server: limit, concurrency }
        return [
          `${titleOf(server)}, ${title}`,
          figure(results.median(cell, 'cpuMs')),
          figure(results.median(bare, 'cpuMs')),
          `${figure(best.cpuMsPerRow)} (${best.rows})`,
          times(results.ratio(cell, bare, 'cpuMs', best.cpuMsPerRow)),
        ]
      }),
    )
  if (rows.length === 0) return undefined
  return [
    '## Against the limit',
    `CPU time a request at concurrency ${concurrency}, in ms, beside the sum of a bare route with the same bodies and a row of the runtime alone, on one thread, at the batch size where it costs least (in brackets).`,
    table(['', 'mlserving', 'bare route', 'raw row', 'to their sum'], rows),
  ].join('\n\n')
}

/** @param {Measured} measured */
export function againstNaive(measured) {
  const { models, plan, results } = measured
  if (!plan.servers.includes('naiveFastify')) return undefined
  const ours = plan.servers.filter((server) => serverCatalog[server]?.kind === 'mlserving')
  const health = Math.max(...plan.concurrencies)
  const rows = ours.flatMap((server) =>
    models.map(({ name: model, title }) => {
      const ratio = (
        /** @type {number} */ concurrency,
        /** @type {'requestsPerSecond' | 'healthP99Ms'} */ figureName,
      ) =>
        results.ratio(
          { model, server, concurrency },
          { model, server: 'naiveFastify', concurrency },
          figureName,
        )
      return [
        `${titleOf(server)}, ${title}`,
        ...plan.concurrencies.map((concurrency) => times(ratio(concurrency, 'requestsPerSecond'))),
        times(ratio(health, 'healthP99Ms')),
      ]
    }),
  )
  return [
    '## Against naive Fastify',
    'Requests a second, relative to it, by concurrency; and the p99 of `/health` under load, for models of 5 ms a run or more.',
    table(['', ...plan.concurrencies.map((each) => `at ${each}`), `\`/health\` p99 at ${health}`], rows),
  ].join('\n\n')
}

/** @param {Measured} measured */
export function againstPython(measured) {
  const { models, results } = measured
  const concurrency = shownConcurrency(measured)
  const servers = measuredServers(measured)
  const peers = servers.filter((server) => serverCatalog[server]?.kind === 'python')
  if (peers.length === 0 || !servers.includes('mlservingFastify')) return undefined
  const rows = models.map(({ name: model, title }) => [
    title,
    ...peers.map((server) =>
      times(
        results.ratio(
          { model, server: 'mlservingFastify', concurrency },
          { model, server, concurrency },
          'requestsPerSecond',
        ),
      ),
    ),
  ])
  return [
    '## Against servers of Python',
    `Requests a second of mlserving on Fastify, relative to each, at concurrency ${concurrency}.`,
    table(['', ...peers.map(titleOf)], rows),
  ].join('\n\n')
}

/** @param {Measured} measured */
export function atEqualArrival({ arrivals, models }) {
  if (arrivals.length === 0) return undefined
  const servers = Object.keys(arrivals[0]?.rounds ?? {})
  const rows = arrivals.map(({ model, perSecond, rounds }) => [
    models.find(({ name }) => name === model)?.title ?? model,
    figure(perSecond),
    ...servers.map((server) => {
      const figures = rounds[server] ?? []
      const p99 = figure(median(figures.map(({ p99Ms }) => p99Ms)))
      const p50 = figure(median(figures.map(({ p50Ms }) => p50Ms)))
      const unanswered = figures.reduce((sum, { offered, answered }) => sum + offered - answered, 0)
      return `${p50} / ${p99}${unanswered > 0 ? ` (${unanswered} not answered)` : ''}`
    }),
  ])
  const late = Math.max(
    ...arrivals.flatMap(({ rounds }) => Object.values(rounds).flat()).map(({ lateP99Ms }) => lateP99Ms),
  )
  return [
    '## At equal arrival rate',
    `p50 / p99 in ms, from when a request was meant to start. The rate is 70 % of what the weakest answered in a closed loop. The load generator itself was late by up to ${figure(late)} ms (p99 of its worst round); that is in the figures.`,
    table(['', 'requests/s', ...servers.map(titleOf)], rows),
  ].join('\n\n')
}
