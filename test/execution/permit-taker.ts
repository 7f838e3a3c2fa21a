import { parentPort, threadId, workerData } from 'node:worker_threads'
import { Permits } from '../../src/execution/permits.js'

/** What permits.test.ts starts a worker with. */
export interface Taking {
  readonly permits: SharedArrayBuffer
  readonly count: number
  readonly rounds: number
  /** [the permits that are out at this moment, how often any were taken], by the workers' own count. */
  readonly ledger: SharedArrayBuffer
}

export interface Taken {
  /** The most permits that were out at once. */
  readonly most: number
  /** How often others had taken permits before this worker first did. */
  readonly before: number
}

const { permits: shared, count, rounds, ledger } = workerData as Taking
const permits = new Permits(shared)
const words = new Int32Array(ledger)

let most = 0
let before: number | undefined
parentPort?.postMessage('ready')
for (let round = 0; round < rounds; round++) {
  const own = permits.acquire(count, threadId)
  const taken = Atomics.add(words, 1, 1)
  before ??= taken
  most = Math.max(most, Atomics.add(words, 0, own) + own)
  Atomics.sub(words, 0, own)
  permits.release(own)
}
parentPort?.postMessage({ most, before })
