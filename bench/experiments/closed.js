/** Closed loops at each concurrency: the servers take turns in short rounds. */
import { aim, measured } from './target.js'

/** From this run time on, what a model does to `/health` is measured: 20 questions a second are then no load. */
export const healthFromMs = 5

/**
 * Long enough for each caller to be answered by a model that computes on one core.
 * @param {number} runMs
 * @param {number} concurrency
 * @param {number} atLeast
 */
const secondsFor = (runMs, concurrency, atLeast) => Math.max(atLeast, (concurrency * runMs) / 1000)

/**
 * @param {object} options
 * @param {import('node:child_process').ChildProcess} options.generator
 * @param {readonly import('../servers/catalog.js').RunningServer[]} options.servers
 * @param {import('../http-models.js').Prepared} options.model
 * @param {string} options.specFile
 * @param {import('../options.js').Plan} options.plan
 * @param {import('../report/results.js').Results} options.results
 */
export async function closedRounds({ generator, servers, model, specFile, plan, results }) {
  for (let round = 0; round < plan.rounds; round++) {
    for (const concurrency of plan.concurrencies) {
      const seconds = secondsFor(model.runMs, concurrency, plan.seconds)
      for (const server of servers) {
        await aim(generator, server, specFile)
        /** @type {import('../load/generator.js').Closed} */
        const task = { do: 'closed', concurrency, seconds, probed: model.runMs >= healthFromMs }
        /** @type {import('../load/closed-loop.js').ClosedLoopFigures & { cpuMs: number }} */
        const figures = await measured(generator, server, task)
        results.add({ model: model.name, server: server.name, concurrency }, figures)
      }
    }
  }
}
