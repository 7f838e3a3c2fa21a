import { ask } from '../child.js'
import { serverCatalog } from '../servers/catalog.js'

/**
 * @typedef {import('../servers/catalog.js').RunningServer} RunningServer
 * @typedef {import('../load/generator.js').Task} Task
 * @typedef {import('node:child_process').ChildProcess} ChildProcess
 */

/**
 * Points the generator at a server, warms that up and, where it has a model, checks that it answers as the raw runtime
 * does.
 * @param {ChildProcess} generator
 * @param {RunningServer} server
 * @param {string} specFile
 * @param {number} seconds
 * @throws {Error} where it answers otherwise: its figures would mean nothing
 */
export async function warmUp(generator, server, specFile, seconds) {
  await aim(generator, server, specFile)
  await ask(generator, { do: 'closed', concurrency: 1, seconds: seconds / 5, probed: false })
  await ask(generator, { do: 'closed', concurrency: 64, seconds: (seconds * 4) / 5, probed: false })
  if (serverCatalog[server.name]?.kind === 'limit') return
  await ask(generator, { do: 'verify' }).catch((error) => {
    throw new Error(`${server.name}: ${error.message}`)
  })
}

/**
 * @param {ChildProcess} generator
 * @param {RunningServer} server
 * @param {string} specFile
 * @param {Record<string, string>} [headers]
 */
export async function aim(generator, { address }, specFile, headers) {
  await ask(generator, { do: 'target', specFile, address, headers })
}

/**
 * Loads the server that the generator is aimed at, and takes its CPU time and event-loop delay meanwhile.
 * @template {import('../load/closed-loop.js').ClosedLoopFigures | import('../load/open-loop.js').OpenLoopFigures} F
 * @param {ChildProcess} generator
 * @param {RunningServer} server
 * @param {Task} task
 * @returns {Promise<F & { cpuMs: number, healthP99Ms?: number, eventLoopP99Ms?: number }>} `cpuMs` a request answered
 */
export async function measured(generator, server, task) {
  await server.begin()
  const before = server.cpuMs()
  const figures = /** @type {F & { healthP99Ms?: number }} */ (await ask(generator, task))
  const cpuMs = (server.cpuMs() - before) / figures.answered
  return { ...figures, cpuMs, ...(await server.end()) }
}
