import { createRequire } from 'node:module'
import { join } from 'node:path'

/**
 * Node's worker_threads, loaded on first need. Not by `import()`, which there is none of in a context of node:vm, such
 * as a test of Jest's.
 */
export function workerThreads() {
  const require = createRequire(join(process.cwd(), 'index.js'))
  return require('node:worker_threads') as typeof import('node:worker_threads')
}
