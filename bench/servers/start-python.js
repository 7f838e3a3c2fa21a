/** Servers of Python, each set up as its own documentation advises; what is chosen, each file of bench/python says. */
import { spawn } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { watch } from '../child.js'
import { serverCores } from '../cores.js'
import { pythonEnvironment, pythonFolder } from './python-environment.js'

/** Loading numpy, onnxruntime and a framework on a busy machine. */
const startLimitMs = 120_000

/** @typedef {import('./catalog.js').Address} Address */

/**
 * @typedef {object} PythonServer
 * @property {(ports: readonly [number, number, number]) => readonly string[]} command
 * @property {Omit<Address, 'port'>} address
 * @property {string} [readyPath] where it says that the model is loaded; its health by default
 * @property {(ports: readonly [number, number, number]) => Record<string, object>} [files] in its working directory
 */

/** @type {Record<string, PythonServer>} */
const pythonServers = {
  fastapi: {
    command: ([port]) => [
      ...['uvicorn', 'fastapi_server:app', '--port', `${port}`],
      ...['--workers', `${serverCores}`, '--log-level', 'warning'],
    ],
    address: { path: '/predict', healthPath: '/health', protocol: 'row' },
  },
  mlserver: {
    command: () => ['mlserver', 'start', '.'],
    address: {
      path: '/v2/models/model/infer',
      healthPath: '/v2/health/live',
      protocol: 'openInference',
    },
    readyPath: '/v2/models/model/ready',
    files: ([port, grpcPort, metricsPort]) => ({
      'settings.json': {
        host: '127.0.0.1',
        http_port: port,
        grpc_port: grpcPort,
        metrics_port: metricsPort,
        debug: false,
      },
      'model-settings.json': {
        name: 'model',
        implementation: 'mlserver_runtime.OnnxModel',
        max_batch_size: 64,
        max_batch_time: 0.001,
      },
    }),
  },
  bentoml: {
    command: ([port]) => [
      'bentoml',
      'serve',
      'bentoml_service:OnnxModel',
      '--host',
      '127.0.0.1',
      '--port',
      `${port}`,
    ],
    address: { path: '/predict', healthPath: '/livez', protocol: 'batch' },
  },
  litserve: {
    command: ([port]) => ['python', join(pythonFolder, 'litserve_server.py'), `${port}`],
    address: { path: '/predict', healthPath: '/health', protocol: 'row' },
  },
}

/**
 * @param {string} name
 * @param {string} specFile the model's file of JSON
 * @param {string} folder for what it writes
 * @param {readonly string[]} cores the command that binds it to its cores, if any
 * @returns {Promise<{ child: import('node:child_process').ChildProcess, address: Address } | { missing: string }>}
 */
export async function startPython(name, specFile, folder, cores) {
  const server = pythonServers[name]
  if (server === undefined) throw new Error(`There is no server of Python "${name}".`)
  const environment = await pythonEnvironment(name)
  if ('missing' in environment) return environment

  const ports = /** @type {const} */ ([await freePort(), await freePort(), await freePort()])
  const cwd = join(folder, name)
  mkdirSync(cwd, { recursive: true })
  for (const [file, content] of Object.entries(server.files?.(ports) ?? {})) {
    writeFileSync(join(cwd, file), JSON.stringify(content))
  }
  const logFile = join(cwd, 'log')
  const log = openSync(logFile, 'w')
  const [program = '', ...args] = server.command(ports)
  const [command = '', ...before] = [...cores, join(environment.programs, program)]
  const child = spawn(command, [...before, ...args], {
    cwd,
    stdio: ['ignore', log, log],
    env: {
      ...process.env,
      PATH: `${environment.programs}:${process.env.PATH}`,
      PYTHONPATH: pythonFolder,
      PYTHONDONTWRITEBYTECODE: '1',
      BENCH_MODEL: specFile,
      BENTOML_HOME: join(cwd, 'home'),
      BENTOML_DO_NOT_TRACK: 'True',
    },
  })
  watch(child, name, () => readFileSync(logFile, 'utf8').slice(-2000))
  const address = { ...server.address, port: ports[0] }
  await untilReady(address.port, server.readyPath ?? address.healthPath)
  return { child, address }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  await once(server, 'close')
  return port
}

/**
 * @param {number} port
 * @param {string} path
 */
async function untilReady(port, path) {
  const url = `http://127.0.0.1:${port}${path}`
  const limit = performance.now() + startLimitMs
  while (performance.now() < limit) {
    const status = await fetch(url).then(
      (response) => response.status,
      () => 0,
    )
    if (status === 200) return
    await setTimeout(200)
  }
  throw new Error(`${url} did not answer within ${startLimitMs / 1000} s`)
}
