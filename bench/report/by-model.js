/** Everything that was measured in closed loops, a table for each model. */
import { measuredServers, titleOf } from './summary.js'
import { figure, table, times } from './table.js'

/** @param {import('./write.js').Measured} measured */
export function byModel(measured) {
  const { models, plan, results } = measured
  return models.map((model) => {
    const rows = plan.concurrencies.flatMap((concurrency) =>
      measuredServers(measured).map((server) => {
        const cell = { model: model.name, server, concurrency }
        const base = { ...cell, server: 'naiveFastify' }
        const failed = results.rounds(cell).reduce((sum, round) => sum + round.failed, 0)
        return [
          titleOf(server),
          `${concurrency}`,
          figure(results.median(cell, 'requestsPerSecond')),
          times(results.ratio(cell, base, 'requestsPerSecond')),
          figure(results.median(cell, 'p50Ms')),
          figure(results.median(cell, 'p99Ms')),
          figure(results.median(cell, 'cpuMs')),
          times(results.ratio(cell, base, 'cpuMs')),
          figure(results.median(cell, 'healthP99Ms')),
          figure(results.median(cell, 'eventLoopP99Ms')),
          `${failed}`,
        ]
      }),
    )
    const head = [
      '',
      'concurrency',
      'requests/s',
      'to naive',
      'p50, ms',
      'p99, ms',
      'CPU a request, ms',
      'to naive',
    ]
    return [
      `### ${model.title}`,
      `The runtime alone takes ${figure(model.runMs)} ms a row on one thread. "To naive" is relative to naive Fastify.`,
      table([...head, '`/health` p99, ms', 'event-loop delay p99, ms', 'failed'], rows),
    ].join('\n\n')
  })
}
