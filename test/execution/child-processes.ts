import type { ChildProcess } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'

/** The child processes that this one started, the last one last. */
const children: ChildProcess[] = []
subscribe('child_process', (message) => {
  children.push((message as { process: ChildProcess }).process)
})

/** The process id of the child that was started last. */
export function lastPid(): number {
  const pid = children.at(-1)?.pid
  if (pid === undefined) throw new Error('no child process was started')
  return pid
}

/** Whether there is such a process, and it has not ended. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  return !isZombie(pid)
}

/** Whether it has ended, and nobody asked how: an orphan in a container whose first process does not care. */
function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true // gone in between
  }
}
