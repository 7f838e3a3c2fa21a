/** Python's servers live in virtual environments under bench/.venv, made where they are first needed. */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const execute = promisify(execFile)

export const pythonFolder = fileURLToPath(new URL('../python/', import.meta.url))
const environments = fileURLToPath(new URL('../.venv/', import.meta.url))

/** The requirements were pinned with this one; others may have no wheels for them. */
const expectedPython = /^Python 3\.1[123]\./

/**
 * The folder of an environment's programs, or why there is none here. Each server has one of its own, since their
 * requirements do not agree.
 * @param {string} name the environment is made from python/<name>.txt
 * @returns {Promise<{ programs: string } | { missing: string }>}
 */
export async function pythonEnvironment(name) {
  const folder = join(environments, name)
  const programs = join(folder, 'bin')
  const wanted = readFileSync(join(pythonFolder, `${name}.txt`), 'utf8')
  // Written last: an environment without it, or of other requirements, is made anew.
  const complete = join(folder, 'requirements.txt')
  if (existsSync(complete) && readFileSync(complete, 'utf8') === wanted) return { programs }

  const version = pythonVersion()
  if (version === undefined) return { missing: 'there is no python3' }
  if (!expectedPython.test(version)) return { missing: `${version} is not 3.11 to 3.13` }
  console.error(`installing ${name} for Python into ${folder}`)
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(environments, { recursive: true })
    await execute('python3', ['-m', 'venv', folder])
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input']
    await execute(join(programs, 'python'), [...pip, '-r', join(pythonFolder, `${name}.txt`)])
    writeFileSync(complete, wanted)
    return { programs }
  } catch (error) {
    const [reason = ''] = String(/** @type {{ stderr?: string }} */ (error).stderr ?? error).split('\n')
    return { missing: `its environment could not be made: ${reason}` }
  }
}

/** Such as `Python 3.11.7`; undefined without one. */
export function pythonVersion() {
  try {
    return execFileSync('python3', ['--version'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}
