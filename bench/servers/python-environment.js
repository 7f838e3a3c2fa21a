/** Python's servers live in virtual environments under bench/.venv, made where they are first needed. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { virtualEnvironment } from './virtual-environment.js'

export { pythonVersion } from './virtual-environment.js'

export const pythonFolder = fileURLToPath(new URL('../python/', import.meta.url))
const environments = fileURLToPath(new URL('../.venv/', import.meta.url))

/**
 * The folder of an environment's programs, or why there is none here. Each server has one of its own, since their
 * requirements do not agree.
 * @param {string} name the environment is made from python/<name>.txt
 * @returns {Promise<{ programs: string } | { missing: string }>}
 */
export function pythonEnvironment(name) {
  return virtualEnvironment(join(environments, name), join(pythonFolder, `${name}.txt`))
}
