import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

test('the client has nothing of Node or of the core in it, so that a browser can load it', async () => {
  const entry = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))
  const { metafile, outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    minify: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
  const folders = Object.keys(metafile.inputs).map((file) => /src\/(\w+)\//.exec(file)?.[1])
  expect(new Set(folders)).toEqual(new Set(['client', 'tensor', 'v2']))
  const [bundle] = outputFiles
  expect(bundle?.text).not.toMatch(/\b(?:Buffer|process|require)\b/)
  expect(bundle?.contents.length).toBeLessThan(24 * 1024)
})
