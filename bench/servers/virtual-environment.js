/** Virtual environments of Python, made where they are first needed and kept. */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** The requirements were pinned with this one; others may have no wheels for them. */
const expectedPython = /^Python 3\.1[123]\./

/** What pip may take: an index that does not answer it would ask for a quarter of an hour. */
const installLimitMs = 600_000

/**
 * The folder of an environment's programs, or why there is none here: never an error.
 * @param {string} folder where it is, or is to be
 * @param {string} requirements the file of what is installed there
 * @param {{ readonly pip?: readonly string[] }} [options] further options of `pip install`
 * @returns {Promise<{ programs: string } | { missing: string }>}
 */
export async function virtualEnvironment(folder, requirements, { pip = [] } = {}) {
  const programs = join(folder, 'bin')
  const wanted = readFileSync(requirements, 'utf8')
  // Written last: an environment without it, or of other requirements, is made anew.
  const complete = join(folder, 'requirements.txt')
  const isMade = existsSync(complete) && readFileSync(complete, 'utf8') === wanted
  if (isMade && pythonVersion(join(programs, 'python')) !== undefined) return { programs }

  const version = pythonVersion()
  if (version === undefined) return { missing: 'there is no python3' }
  if (!expectedPython.test(version)) return { missing: `${version} is not 3.11 to 3.13` }
  console.error(`installing ${requirements} for Python into ${folder}`)
  try {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const limit = { timeout: installLimitMs, killSignal: /** @type {const} */ ('SIGKILL') }
    await execute('python3', ['-m', 'venv', folder], limit)
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input']
    await execute(join(programs, 'python'), [...install, ...pip, '-r', requirements], limit)
    writeFileSync(complete, wanted)
    return { programs }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    return { missing: `its environment could not be made: ${reasonOf(error)}` }
  }
}

/**
 * What a program said was wrong: the last line of pip's, all of what venv tells on stdout.
 * @param {unknown} error
 */
function reasonOf(error) {
  const { killed, stdout, stderr } = /** @type {{ killed?: boolean, stdout?: string, stderr?: string }} */ (
    error
  )
  if (killed) return `it was not there after ${installLimitMs / 1000} s`
  return stderr?.trim().split('\n').at(-1) || stdout?.trim().replaceAll(/\s+/g, ' ') || String(error)
}

/**
 * Such as `Python 3.11.7`; undefined without one.
 * @param {string} [program]
 */
export function pythonVersion(program = 'python3') {
  try {
    return execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}
