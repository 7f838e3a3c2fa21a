import { writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import lifelineSource from './lifeline.js?source'
import type { FromWorker, ToWorker } from './worker-messages.js'
import { WorkerSessions } from './worker-sessions.js'

// Also while this thread is inside the runtime, this process ends with its parent.
new Worker(lifelineSource, { eval: true, execArgv: [], name: 'mlserving-lifeline' })

// A terminal and a service manager send these to every process of a group: the parent, which may drain, has the say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

preferToBeKilled()

/** Runs whose permits the parent holds, and those that wait for them. */
const permits = new Map<number, 'held' | (() => void)>()

function permit(id: number): void {
  const waiting = permits.get(id)
  if (typeof waiting === 'function') waiting()
  else permits.set(id, 'held')
}

async function permitted<T>(id: number, _width: number, compute: () => Promise<T>): Promise<T> {
  if (permits.get(id) === undefined) await new Promise<void>((resolve) => permits.set(id, resolve))
  permits.delete(id)
  return compute()
}

const sessions = new WorkerSessions({
  send: (message: FromWorker) => process.send?.(message),
  native: (call) => call(),
  permitted,
})

process.on('message', (message: ToWorker) => {
  if (message.type === 'permit') permit(message.id)
  else sessions.receive(message)
})

/** Where memory runs out, Linux is to end this process rather than the one that serves. */
function preferToBeKilled(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '500')
  } catch {
    // Not on this system, or not allowed: then the system chooses.
  }
}
