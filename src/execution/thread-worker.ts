import { parentPort, threadId, workerData } from 'node:worker_threads'
import { Handshake } from './handshake.js'
import { Permits } from './permits.js'
import type { ToWorker } from './worker-messages.js'
import { WorkerSessions } from './worker-sessions.js'

/** What a worker thread is started with. */
export interface ThreadSetup {
  readonly handshake: SharedArrayBuffer
  readonly permits: SharedArrayBuffer
}

const port = parentPort
if (port === null) throw new Error('thread-worker runs only in a worker thread')

const setup = workerData as ThreadSetup
const handshake = new Handshake(setup.handshake)
const permits = new Permits(setup.permits)

const sessions = new WorkerSessions({
  send: (message, transfer = []) => port.postMessage(message, [...transfer]),

  native: async (call) => {
    // The process is ending, or has given this thread up: nobody waits for an answer, and none may be computed.
    if (!handshake.enter()) return new Promise<never>(() => {})
    try {
      return await call()
    } finally {
      handshake.leave()
    }
  },

  // The permits are back before the answer is on its way.
  permitted: async (_id, width, compute) => {
    handshake.hold(permits.acquire(width, threadId))
    try {
      return await compute()
    } finally {
      permits.release(handshake.takeHeld())
    }
  },
})

port.on('message', (message: Exclude<ToWorker, { type: 'permit' }>) => sessions.receive(message))
port.on('messageerror', (error) => {
  // A message was lost, and with it the id of who waits for the answer: better a death than a wait without end.
  throw error
})
