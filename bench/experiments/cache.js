/** What a cache costs those who never hit it: keys that are all different, cache on against cache off. */
import { startServer } from '../servers/catalog.js'
import { aim, measured, warmUp } from './target.js'

/** Asked in turn, these are four times what a cache keeps by default, so that none is still there. */
export const uniqueRows = 4000

const concurrency = 64
const kinds = /** @type {const} */ (['mlservingFastify', 'mlservingCache'])

/** @typedef {import('../load/closed-loop.js').ClosedLoopFigures & { cpuMs: number }} CacheFigures */
/** @typedef {{ model: string, concurrency: number, off: CacheFigures[], on: CacheFigures[] }} CacheCost */

/**
 * @param {object} options
 * @param {import('node:child_process').ChildProcess} options.generator
 * @param {import('../http-models.js').Prepared} options.model with {@link uniqueRows} rows
 * @param {string} options.specFile
 * @param {import('../options.js').Plan} options.plan
 * @param {import('../servers/catalog.js').Surroundings} options.surroundings
 * @returns {Promise<CacheCost>}
 */
export async function cacheCost({ generator, model, specFile, plan, surroundings }) {
  const servers = []
  try {
    for (const kind of kinds) {
      const server = await startServer(kind, specFile, surroundings)
      if ('missing' in server) throw new Error(server.missing)
      servers.push(server)
      await warmUp(generator, server, specFile, plan.warmUpSeconds)
    }
    /** @type {CacheFigures[][]} */
    const rounds = servers.map(() => [])
    for (let round = 0; round < plan.rounds; round++) {
      for (const [i, server] of servers.entries()) {
        await aim(generator, server, specFile)
        /** @type {CacheFigures} */
        const figures = await measured(generator, server, {
          do: 'closed',
          concurrency,
          seconds: plan.seconds,
          probed: false,
        })
        rounds[i]?.push(figures)
      }
    }
    const [off = [], on = []] = rounds
    return { model: model.name, concurrency, off, on }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}
