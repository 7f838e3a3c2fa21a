/**
 * Ends the process once its parent has ended, however that came about. In a thread of its own, for the others may be
 * inside the runtime: the parent holds the other end of a pipe, in which nothing ever comes but its end.
 */
import { readSync } from 'node:fs'

/** Which file of this process is the pipe: see `process.ts`. */
const lifelineFd = 3

const pause = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
const byte = new Uint8Array(1)

function hasEnded(): boolean {
  try {
    return readSync(lifelineFd, byte) === 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return true
    Atomics.wait(pause, 0, 0, 200) // a pipe that is not to be waited at
    return false
  }
}

while (!hasEnded());
process.kill(process.pid, 'SIGKILL')
