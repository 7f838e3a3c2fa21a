import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import type { Reporter, TestModule } from 'vitest/node'
import { inlineWorkerVite } from './inline-worker.js'

/** The last line of a run: the tests counted, for people and scripts. */
const totals: Reporter = {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      // A file that can't be loaded, or a hook that fails, has errors of its own.
      count.failed += module.errors().length
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length
      for (const test of module.children.allTests()) count[test.result().state]++
    }
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`)
  },
}

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** `--mode soak` runs the long tests, and only those. */
export default defineConfig(({ mode }) => ({
  plugins: [inlineWorkerVite()],
  resolve: {
    alias: [
      { find: /^mlserving$/, replacement: source('src/index.ts') },
      { find: /^mlserving\/testing$/, replacement: source('src/testing/index.ts') },
      { find: /^mlserving\/(express|fastify|fetch)$/, replacement: source('adapters/$1/index.ts') },
    ],
  },
  test: {
    include:
      mode === 'soak' ? ['test/soak/**/*.test.ts', 'test/models/life-cycle.test.ts'] : ['test/**/*.test.ts'],
    exclude: mode === 'soak' ? [] : ['test/soak/**'],
    // onnxruntime-node may be loaded only once in a process: a fork for each file, never threads.
    pool: 'forks',
    isolate: true,
    testTimeout: mode === 'soak' ? 600_000 : 30_000,
    hookTimeout: 60_000,
    reporters: ['default', totals],
  },
}))
