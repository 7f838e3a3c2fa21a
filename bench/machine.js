/** What was measured on, and with: a figure without it means nothing. */
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { createRequire } from 'node:module'
import { pythonFolder, pythonVersion } from './servers/python-environment.js'

const require = createRequire(import.meta.url)

/**
 * The installed version of a package of Node.
 * @param {string} name
 */
function installed(name) {
  const [paths = []] = [require.resolve.paths(name) ?? []]
  for (const path of paths) {
    try {
      return JSON.parse(readFileSync(`${path}/${name}/package.json`, 'utf8')).version
    } catch {
      // It lies in one of the folders further up.
    }
  }
  throw new Error(`${name} is not installed`)
}

/**
 * The pinned version of a package of a Python server.
 * @param {string} environment
 * @param {string} name
 */
function pinned(environment, name) {
  const requirements = readFileSync(`${pythonFolder}${environment}.txt`, 'utf8')
  return new RegExp(`^${name}==(.*)$`, 'm').exec(requirements)?.[1] ?? '?'
}

/** @param {readonly string[]} servers those that were measured */
export function versions(servers) {
  const node = { Node: process.version.slice(1), 'onnxruntime-node': installed('onnxruntime-node') }
  const frameworks = { Fastify: installed('fastify'), Express: installed('express') }
  const titles = { fastapi: 'FastAPI', mlserver: 'MLServer', bentoml: 'BentoML', litserve: 'LitServe' }
  const peers = Object.entries(titles).filter(([name]) => servers.includes(name))
  if (peers.length === 0) return { ...node, ...frameworks }
  return {
    ...node,
    ...frameworks,
    Python: pythonVersion()?.replace('Python ', '') ?? '?',
    ...Object.fromEntries(peers.map(([name, title]) => [title, pinned(name, name)])),
    'onnxruntime of Python': pinned(peers[0]?.[0] ?? '', 'onnxruntime'),
  }
}

export function machine() {
  const [cpu] = cpus()
  return `${cpus().length} x ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`
}
