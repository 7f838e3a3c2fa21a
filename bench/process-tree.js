/** What a process and all that it has started use, as Linux counts it under /proc. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** Elsewhere than on Linux the figures are NaN. */
const onLinux = existsSync('/proc/self/stat')
const [ticksPerSecond, pageBytes] = onLinux
  ? ['CLK_TCK', 'PAGESIZE'].map((name) => Number(execFileSync('getconf', [name], { encoding: 'utf8' })))
  : []

/**
 * The fields of /proc/<pid>/stat after the program's name; undefined once the process has ended.
 * @param {number} pid
 */
function statOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name is in brackets and may hold brackets itself. What follows begins with field 3, the state.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const field = (/** @type {number} */ number) => Number(fields[number - 3])
    return {
      pid,
      parent: field(4),
      // Its own user and system time, and that of the children it has waited for.
      ticks: field(14) + field(15) + field(16) + field(17),
      residentPages: field(24),
    }
  } catch {
    return undefined
  }
}

/**
 * The process `root` and its descendants.
 * @param {number} root
 */
function treeOf(root) {
  if (!onLinux) return []
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? [])
  /** @type {typeof processes} */
  const tree = processes.filter(({ pid }) => pid === root)
  for (const { pid: parent } of tree) tree.push(...processes.filter((process) => process.parent === parent))
  return tree
}

/** @param {readonly number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)

/**
 * User and system time so far, in milliseconds, to a tick (10 ms) a process.
 * @param {number} root
 */
export function cpuMsOf(root) {
  if (ticksPerSecond === undefined) return NaN
  return (sum(treeOf(root).map(({ ticks }) => ticks)) / ticksPerSecond) * 1000
}

/**
 * Memory in RAM, in MB; pages that processes share count for each.
 * @param {number} root
 */
export function residentMbOf(root) {
  if (pageBytes === undefined) return NaN
  return (sum(treeOf(root).map(({ residentPages }) => residentPages)) * pageBytes) / 1e6
}

/**
 * Ends a process and its descendants at once.
 * @param {import('node:child_process').ChildProcess} child
 */
export function killTree(child) {
  const descendants = child.pid === undefined ? [] : treeOf(child.pid).slice(1)
  child.kill('SIGKILL')
  for (const { pid } of descendants) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended with its parent.
    }
  }
}
