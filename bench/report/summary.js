/** The table that the README shows, and the picture of it. */
import { serverCatalog } from '../servers/catalog.js'
import { figure, table, times } from './table.js'

/** @typedef {import('./write.js').Measured} Measured */

/**
 * The concurrency that is shown where there is room for one.
 * @param {Measured} measured
 */
export function shownConcurrency({ plan: { concurrencies } }) {
  return concurrencies.includes(64) ? 64 : Math.max(...concurrencies)
}

/**
 * The servers that were measured.
 * @param {Measured} measured
 */
export function measuredServers({ plan, missing }) {
  return plan.servers.filter((name) => !(name in missing))
}

/** @param {string} server */
export const titleOf = (server) => serverCatalog[server]?.title ?? server

/** @param {Measured} measured */
export function summary(measured) {
  const { results, models } = measured
  const concurrency = shownConcurrency(measured)
  const servers = measuredServers(measured)
  const rows = servers.map((server) => [
    titleOf(server),
    ...models.map(({ name: model }) => {
      const cell = { model, server, concurrency }
      const base = { model, server: 'naiveFastify', concurrency }
      const rate = figure(results.median(cell, 'requestsPerSecond'))
      const ratio = results.ratio(cell, base, 'requestsPerSecond')
      const cpu = figure(results.median(cell, 'cpuMs'))
      return `${rate}${Number.isFinite(ratio) ? ` (${times(ratio)})` : ''}, ${cpu} ms`
    }),
  ])
  return [
    `Requests a second at concurrency ${concurrency}, in brackets relative to naive Fastify, and the server's CPU time a request:`,
    table(['', ...models.map(({ title }) => title)], rows),
    '![Throughput and CPU time a request, relative to naive Fastify](http.svg)',
  ].join('\n\n')
}
