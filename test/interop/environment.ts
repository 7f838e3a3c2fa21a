import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { virtualEnvironment } from '../../bench/servers/virtual-environment.js'

/** Folders of Python's programs; one that is undefined can't be had here, and what needs it is skipped. */
export interface PythonPrograms {
  /** tritonclient and MLServer. */
  readonly clients: string | undefined
  /** Triton Inference Server. */
  readonly triton: string | undefined
}

declare module 'vitest' {
  interface ProvidedContext {
    pythonPrograms: PythonPrograms
  }
}

const own = (path: string) => fileURLToPath(new URL(path, import.meta.url))

async function programs(
  name: keyof PythonPrograms,
  pip: readonly string[] = [],
): Promise<string | undefined> {
  const environment = await virtualEnvironment(own(`.venv/${name}`), own(`python/${name}.txt`), { pip })
  if ('programs' in environment) return environment.programs
  console.warn(`test/interop: what needs ${name} of Python is skipped: ${environment.missing}`)
  return undefined
}

/** Makes Python's environments before the tests. */
export default async function setup(project: TestProject): Promise<void> {
  const [clients, triton] = await Promise.all([
    programs('clients'),
    // Of nvidia-pytriton only the server that it carries.
    programs('triton', ['--no-deps']),
  ])
  project.provide('pythonPrograms', { clients, triton })
}
