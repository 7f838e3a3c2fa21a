/** Every server gets the same cores. */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** Servers are given this many, on larger machines too. */
export const serverCores = 2

/**
 * The command that binds a server to its cores: none where there are no more than that, or no `taskset`.
 * @returns {readonly string[]}
 */
export function coresCommand() {
  if (availableParallelism() <= serverCores || spawnSync('taskset', ['--version']).status !== 0) return []
  return ['taskset', '--cpu-list', `0-${serverCores - 1}`]
}
