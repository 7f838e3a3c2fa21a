import { workerData } from 'node:worker_threads'
import { Handshake } from '../../src/execution/handshake.js'

/** What handshake.test.ts starts a worker with. */
interface Partnership {
  readonly handshakes: readonly SharedArrayBuffer[]
  /** For each handshake: how often the worker has been inside. */
  readonly witnesses: readonly SharedArrayBuffer[]
}

const { handshakes, witnesses } = workerData as Partnership
for (const [i, shared] of handshakes.entries()) {
  const handshake = new Handshake(shared)
  const visits = new Int32Array(witnesses[i] ?? new SharedArrayBuffer(4))
  while (handshake.enter()) {
    Atomics.add(visits, 0, 1)
    Atomics.notify(visits, 0)
    handshake.leave()
  }
}
