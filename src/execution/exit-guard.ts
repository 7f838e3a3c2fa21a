import type { Handshake } from './handshake.js'

/** How long the end of the process waits for runs that are inside native code. */
const exitWaitMs = 10_000

const live = new Set<Handshake>()

/**
 * Keeps the end of the process (a return from main, `process.exit`, an uncaught exception) from stopping a
 * worker inside native code, which would abort with a core dump: the exit waits until each is out.
 */
export function guardExit(handshake: Handshake): void {
  if (live.size === 0) process.on('exit', waitForWorkers)
  live.add(handshake)
}

export function unguardExit(handshake: Handshake): void {
  live.delete(handshake)
  if (live.size === 0) process.off('exit', waitForWorkers)
}

function waitForWorkers(): void {
  for (const handshake of live) handshake.stop()
  const deadline = Date.now() + exitWaitMs
  for (const handshake of live) {
    if (handshake.waitIdle(Math.max(0, deadline - Date.now()))) continue
    process.stderr.write(
      `mlserving: a run did not end within ${exitWaitMs} ms of the process's end; killing the process.\n`,
    )
    // Going on would abort inside the runtime; a kill leaves no core dump and no half-written output of ours.
    process.kill(process.pid, 'SIGKILL')
  }
}
