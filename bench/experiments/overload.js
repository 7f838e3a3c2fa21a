/** Three times as many requests as can be served, each with a deadline: what is answered in time, and the rest. */
import { startServer } from '../servers/catalog.js'
import { aim, measured, warmUp } from './target.js'

const timesCapacity = 3
const peakConcurrency = 64
/** In runs of the model, and at least so many milliseconds. */
const deadline = { runs: 20, atLeastMs: 100 }

/**
 * @typedef {object} Overload
 * @property {string} model
 * @property {number} deadlineMs
 * @property {number} peakPerSecond in a closed loop
 * @property {number} offeredPerSecond
 * @property {number} seconds
 * @property {import('../load/open-loop.js').OpenLoopFigures & { healthP99Ms?: number }} figures
 * @property {readonly [number, number]} residentMb before and after
 */

/**
 * @param {object} options
 * @param {import('node:child_process').ChildProcess} options.generator
 * @param {import('../http-models.js').Prepared} options.model
 * @param {string} options.specFile
 * @param {import('../options.js').Plan} options.plan
 * @param {import('../servers/catalog.js').Surroundings} options.surroundings
 * @returns {Promise<Overload>}
 */
export async function overload({ generator, model, specFile, plan, surroundings }) {
  const server = await startServer('mlservingDeadline', specFile, surroundings)
  if ('missing' in server) throw new Error(server.missing)
  try {
    await warmUp(generator, server, specFile, plan.warmUpSeconds)
    const seconds = plan.overloadSeconds
    /** @type {import('../load/closed-loop.js').ClosedLoopFigures} */
    const peak = await measured(generator, server, {
      do: 'closed',
      concurrency: peakConcurrency,
      seconds: Math.max(plan.seconds, (2 * peakConcurrency * model.runMs) / 1000),
      probed: false,
    })
    const deadlineMs = Math.round(Math.max(deadline.atLeastMs, deadline.runs * model.runMs))
    const offeredPerSecond = timesCapacity * peak.requestsPerSecond
    await aim(generator, server, specFile, { 'x-timeout-ms': `${deadlineMs}` })
    const before = server.residentMb()
    /** @type {Overload['figures']} */
    const figures = await measured(generator, server, {
      do: 'open',
      perSecond: offeredPerSecond,
      seconds,
      deadlineMs,
      probed: true,
    })
    return {
      model: model.name,
      deadlineMs,
      peakPerSecond: peak.requestsPerSecond,
      offeredPerSecond,
      seconds,
      figures,
      residentMb: [before, server.residentMb()],
    }
  } finally {
    await server.stop()
  }
}
