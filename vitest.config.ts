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

interface Selection {
  readonly include: string[]
  readonly exclude?: string[]
  readonly globalSetup?: string
  readonly testTimeout: number
}

/** The tests of a mode, and only those: `soak` the long ones, `interop` those that need clients and servers of Python. */
const selections: Readonly<Record<string, Selection>> = {
  soak: { include: ['test/soak/**/*.test.ts', 'test/models/life-cycle.test.ts'], testTimeout: 600_000 },
  interop: {
    include: ['test/interop/**/*.test.ts'],
    globalSetup: 'test/interop/environment.ts',
    testTimeout: 60_000,
  },
}

const others: Selection = {
  include: ['test/**/*.test.ts'],
  exclude: ['test/soak/**', 'test/interop/**'],
  testTimeout: 30_000,
}

export default defineConfig(({ mode }) => ({
  plugins: [inlineWorkerVite()],
  resolve: {
    alias: [
      { find: /^mlserving$/, replacement: source('src/index.ts') },
      { find: /^mlserving\/(client|remote|testing)$/, replacement: source('src/$1/index.ts') },
      { find: /^mlserving\/(express|fastify|fetch|grpc)$/, replacement: source('adapters/$1/index.ts') },
    ],
  },
  test: {
    exclude: [],
    ...(selections[mode] ?? others),
    // onnxruntime-node may be loaded only once in a process: a fork for each file, never threads.
    pool: 'forks',
    isolate: true,
    hookTimeout: mode === 'interop' ? 240_000 : 60_000,
    // What is waited for comes when it comes: a slow machine is no failure.
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', totals],
  },
}))
