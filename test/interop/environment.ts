import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { virtualEnvironment } from '../../bench/servers/virtual-environment.js'
import { tritonSite, type TritonSite } from './triton-site.js'

/** What there is of Python's; what is undefined can't be had here, and what needs it is skipped. */
export interface PythonPrograms {
  /** The folder of the programs of an environment that has tritonclient. */
  readonly tritonClient: string | undefined
  /** The same, of MLServer. */
  readonly mlserver: string | undefined
  readonly triton: TritonSite | undefined
}

declare module 'vitest' {
  interface ProvidedContext {
    pythonPrograms: PythonPrograms
  }
}

const own = (path: string) => fileURLToPath(new URL(path, import.meta.url))

function skipped(name: string, missing: string): undefined {
  console.warn(`test/interop: what needs ${name} of Python is skipped: ${missing}`)
}

async function environment(name: string, pip: readonly string[] = []): Promise<string | undefined> {
  const made = await virtualEnvironment(own(`.venv/${name}`), own(`python/${name}.txt`), {
    // To compile would take longer than all the tests.
    pip: ['--only-binary=:all:', ...pip],
  })
  return 'programs' in made ? made.programs : skipped(name, made.missing)
}

async function clients() {
  const programs = await environment('clients')
  if (programs === undefined || existsSync(join(programs, 'mlserver'))) {
    return { tritonClient: programs, mlserver: programs }
  }
  return { tritonClient: programs, mlserver: skipped('mlserver', 'MLServer 1.7 is not for Python 3.13') }
}

async function triton(): Promise<TritonSite | undefined> {
  // Of nvidia-pytriton only the server that it carries.
  const programs = await environment('triton', ['--no-deps'])
  if (programs === undefined) return undefined
  const site = tritonSite(programs)
  return 'missing' in site ? skipped('triton', site.missing) : site
}

/** Makes Python's environments before the tests, and a folder for what the tests write, which goes with them. */
export default async function setup(project: TestProject): Promise<() => void> {
  const [programs, server] = await Promise.all([clients(), triton()])
  project.provide('pythonPrograms', { ...programs, triton: server })
  const folder = mkdtempSync(join(tmpdir(), 'interop-'))
  process.env['TMPDIR'] = folder
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  process.once('SIGTERM', () => process.exit(143))
  return remove
}
