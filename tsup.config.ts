import { defineConfig } from 'tsup'
import { inlineWorkerEsbuild } from './inline-worker.js'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    express: 'adapters/express/index.ts',
    fastify: 'adapters/fastify/index.ts',
    client: 'src/client/index.ts',
    remote: 'src/remote/index.ts',
    grpc: 'adapters/grpc/index.ts',
    fetch: 'adapters/fetch/index.ts',
    testing: 'src/testing/index.ts',
  },
  format: ['esm', 'cjs'],
  platform: 'node',
  target: 'node20',
  tsconfig: 'tsconfig.build.json',
  // One copy of the core in each format, shared by the adapters.
  splitting: true,
  // Makes the CommonJS chunks with Rollup; tsup's other way, sucrase, slows down every `?.` and `??`.
  treeshake: true,
  removeNodeProtocol: false,
  dts: true,
  sourcemap: true,
  clean: true,
  esbuildPlugins: [inlineWorkerEsbuild()],
  esbuildOptions(options, { format }) {
    // CommonJS has __filename instead. tsup's own shims would break the ESM build in a user's CommonJS bundle.
    if (format === 'cjs') options.define = { ...options.define, 'import.meta.url': 'undefined' }
  },
})
