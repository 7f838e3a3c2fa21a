import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { inlineWorkerEsbuild } from '../../inline-worker.js'

test('who imports the core loads nothing of the client, of remote models or of gRPC', async () => {
  const entry = fileURLToPath(new URL('../../src/index.ts', import.meta.url))
  const { metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    platform: 'node',
    packages: 'external',
    write: false,
    metafile: true,
    logLevel: 'silent',
    plugins: [inlineWorkerEsbuild()],
  })
  const folders = Object.keys(metafile.inputs).flatMap((file) => /src\/(\w+)\//.exec(file)?.[1] ?? [])
  expect(folders).toContain('models')
  expect(folders.filter((folder) => ['client', 'remote', 'v2', 'http'].includes(folder))).toEqual([])
  const packages = Object.values(metafile.inputs).flatMap(({ imports }) => imports.map(({ path }) => path))
  expect(packages.filter((path) => /cockatiel|grpc/.test(path))).toEqual([])
})
