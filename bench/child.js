/** Programs of the bench in processes of their own, which answer one message with one. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { killTree } from './process-tree.js'

/** @typedef {import('node:child_process').ChildProcess} ChildProcess */

/** @type {Set<ChildProcess>} */
const running = new Set()
// However the bench ends, nothing that it started stays.
process.once('exit', () => {
  for (const child of running) killTree(child)
})
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, () => process.exit(1))

/**
 * Keeps a child process in mind until it ends or is {@link stop stopped}; an end of its own ends the bench.
 * @template {ChildProcess} T
 * @param {T} child
 * @param {string} name
 * @param {() => string} [lastWords] what it has said of its end elsewhere than on the terminal
 */
export function watch(child, name, lastWords = () => '') {
  running.add(child)
  child.once('exit', (code, signal) => {
    if (!running.delete(child)) return
    console.error(`${name} ended with ${code ?? signal}`, lastWords())
    process.exit(1)
  })
  return child
}

/** @param {ChildProcess} child with all that it has started */
export async function stop(child) {
  if (!running.delete(child)) return
  const ended = once(child, 'exit')
  killTree(child)
  await ended
}

/**
 * Starts a program of this folder in a process of its own.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {readonly string[]} [cores] the command that binds it to its cores, if any
 */
export function start(program, args, cores = []) {
  const file = new URL(program, import.meta.url).pathname
  const [command, ...before] = [...cores, process.execPath]
  const child = fork(file, args, {
    execPath: command ?? process.execPath,
    execArgv: before,
    env: { ...process.env, NODE_ENV: 'production', ORT_DISABLE_TELEMETRY: '1' },
  })
  return watch(child, program)
}

/**
 * Sends a message to a program, and waits for the next that it sends.
 * @param {ChildProcess} child
 * @param {unknown} [message] none: only waits
 */
export async function ask(child, message) {
  const answer = once(child, 'message')
  if (message !== undefined) child.send(/** @type {import('node:child_process').Serializable} */ (message))
  const [answered] = await answer
  if (answered?.error !== undefined) throw new Error(answered.error)
  return answered
}
