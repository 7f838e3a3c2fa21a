/** An open loop of the same rate for every server, one that all of them can sustain. */
import { serverCatalog } from '../servers/catalog.js'
import { aim, measured } from './target.js'

/** Of what the weakest answered in a closed loop. */
const shareOfWeakest = 0.7

/** Beside those of Python: Express would tell nothing that closed loops do not. */
const ours = ['naiveFastify', 'mlservingFastify']

/**
 * @typedef {import('../load/open-loop.js').OpenLoopFigures & { cpuMs: number }} ArrivalFigures
 * @typedef {{ model: string, perSecond: number, rounds: Record<string, ArrivalFigures[]> }} Arrivals
 */

/**
 * @param {object} options
 * @param {import('node:child_process').ChildProcess} options.generator
 * @param {readonly import('../servers/catalog.js').RunningServer[]} options.servers
 * @param {import('../http-models.js').Prepared} options.model
 * @param {string} options.specFile
 * @param {import('../options.js').Plan} options.plan
 * @param {import('../report/results.js').Results} options.results those of the closed loops
 * @returns {Promise<Arrivals | undefined>} none where there is nobody to compare
 */
export async function equalArrivals({ generator, servers, model, specFile, plan, results }) {
  const compared = servers.filter(({ name }) => serverCatalog[name]?.kind === 'python' || ours.includes(name))
  const concurrency = Math.max(...plan.concurrencies.filter((each) => each <= 64))
  const peaks = compared.map(({ name }) =>
    results.median({ model: model.name, server: name, concurrency }, 'requestsPerSecond'),
  )
  const perSecond = shareOfWeakest * Math.min(...peaks)
  if (compared.length < 2 || !(perSecond > 0)) return undefined

  /** @type {Arrivals['rounds']} */
  const rounds = Object.fromEntries(compared.map(({ name }) => [name, []]))
  for (let round = 0; round < plan.rounds; round++) {
    for (const server of compared) {
      await aim(generator, server, specFile)
      /** @type {ArrivalFigures} */
      const figures = await measured(generator, server, { do: 'open', perSecond, seconds: plan.seconds })
      rounds[server.name]?.push(figures)
    }
  }
  return { model: model.name, perSecond, rounds }
}
