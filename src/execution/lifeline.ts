/**
 * Ends the process once its parent has ended, however that came about: the parent holds the other end of a pipe, in
 * which nothing ever comes but its end. In a thread of its own, for the others may be inside the runtime.
 */
import { Socket } from 'node:net'

/** Which file of this process is the pipe: see `process.ts`. */
const lifelineFd = 3

// Not a blocking read, which would keep a process that exits from ending this thread.
new Socket({ fd: lifelineFd })
  .on('error', () => {}) // followed by its close
  .on('close', () => process.kill(process.pid, 'SIGKILL'))
  .resume()
