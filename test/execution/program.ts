import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { inlineWorkerEsbuild } from '../../inline-worker.js'

/** How a process ended, and what it said. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly process: ChildProcess
  readonly ended: Promise<Ended>
}

export const top = fileURLToPath(new URL('../..', import.meta.url))

const ownPrograms = new URL('./programs/', import.meta.url)

/**
 * Bundles a program of `./programs`, or of another folder, with mlserving's source into a folder, as a user's bundler would; answers the
 * bundle's path. Only the runtime stays outside: it is found from the folder the program is started in.
 */
export async function bundle(program: string, folder: string, programs = ownPrograms): Promise<string> {
  const outfile = join(folder, `${program}.cjs`)
  await build({
    entryPoints: [fileURLToPath(new URL(`${program}.ts`, programs))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    define: { 'import.meta.url': 'undefined' },
    external: ['onnxruntime-node'],
    plugins: [inlineWorkerEsbuild()],
    logLevel: 'error',
  })
  return outfile
}

export interface StartOptions {
  /** Default: the top of this project, where the runtime is found. */
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Options of Node itself. */
  readonly node?: readonly string[]
}

/** Starts a program; one that does not end within a minute is killed. */
export function start(file: string, args: readonly string[], options: StartOptions = {}): Program {
  const { cwd = top, env = process.env, node = [] } = options
  const child = spawn(process.execPath, [...node, file, ...args], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...said })
    })
  })
  return { process: child, ended }
}

/** Runs a program to its end. */
export function run(file: string, args: readonly string[], options?: StartOptions): Promise<Ended> {
  return start(file, args, options).ended
}
