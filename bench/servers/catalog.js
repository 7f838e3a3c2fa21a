/** The servers that are measured, and how one is started. */
import { ask, start, stop } from '../child.js'
import { cpuMsOf, residentMbOf } from '../process-tree.js'
import { startPython } from './start-python.js'

/**
 * Where and how a server is asked.
 * @typedef {object} Address
 * @property {number} port
 * @property {string} path
 * @property {string} healthPath
 * @property {import('../load/protocol.js').ProtocolName} protocol
 */

/**
 * @typedef {object} RunningServer
 * @property {string} name
 * @property {Address} address
 * @property {() => number} cpuMs user and system time so far, of all its processes
 * @property {() => number} residentMb
 * @property {() => Promise<void>} begin starts to watch the event loop
 * @property {() => Promise<{ eventLoopP99Ms?: number }>} end
 * @property {() => Promise<void>} stop
 */

/** @typedef {{ title: string, kind: 'limit' | 'naive' | 'mlserving' | 'python', program: 'node' | 'python' }} ServerEntry */

/** @type {Record<string, ServerEntry>} */
export const serverCatalog = {
  bareFastify: { title: 'bare Fastify, no model', kind: 'limit', program: 'node' },
  bareExpress: { title: 'bare Express, no model', kind: 'limit', program: 'node' },
  naiveFastify: { title: 'naive Fastify', kind: 'naive', program: 'node' },
  naiveExpress: { title: 'naive Express', kind: 'naive', program: 'node' },
  mlservingFastify: { title: 'mlserving on Fastify', kind: 'mlserving', program: 'node' },
  mlservingExpress: { title: 'mlserving on Express', kind: 'mlserving', program: 'node' },
  fastapi: { title: 'FastAPI', kind: 'python', program: 'python' },
  mlserver: { title: 'MLServer', kind: 'python', program: 'python' },
  bentoml: { title: 'BentoML', kind: 'python', program: 'python' },
  litserve: { title: 'LitServe', kind: 'python', program: 'python' },
}

/** Started by the parts of the bench that need them, rather than for every model. */
const variants = ['mlservingDeadline', 'mlservingCache']

/**
 * @typedef {object} Surroundings
 * @property {string} folder for what servers write
 * @property {readonly string[]} cores the command that binds a server to its cores, if any
 */

/**
 * @param {string} name
 * @param {string} specFile the model's file of JSON
 * @param {Surroundings} surroundings
 * @returns {Promise<RunningServer | { missing: string }>} why the server can't be had here
 */
export async function startServer(name, specFile, { folder, cores }) {
  if (serverCatalog[name]?.program === 'python') {
    const started = await startPython(name, specFile, folder, cores)
    if ('missing' in started) return started
    return running(name, started.child, started.address, { begin: async () => {}, end: async () => ({}) })
  }
  if (!(name in serverCatalog) && !variants.includes(name)) throw new Error(`There is no server "${name}".`)
  const child = start('servers/node-server.js', [name, specFile], cores)
  const { port } = await ask(child)
  return running(
    name,
    child,
    { port, path: '/predict', healthPath: '/health', protocol: 'row' },
    { begin: () => ask(child, 'begin'), end: () => ask(child, 'end') },
  )
}

/**
 * @param {string} name
 * @param {import('node:child_process').ChildProcess} child
 * @param {Address} address
 * @param {Pick<RunningServer, 'begin' | 'end'>} eventLoop
 * @returns {RunningServer}
 */
function running(name, child, address, eventLoop) {
  const { pid = NaN } = child
  return {
    name,
    address,
    cpuMs: () => cpuMsOf(pid),
    residentMb: () => residentMbOf(pid),
    ...eventLoop,
    stop: () => stop(child),
  }
}
