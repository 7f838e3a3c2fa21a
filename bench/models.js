/** Models to measure with, written into a folder; those of the tests, which are written in TypeScript. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

export { median } from './statistics.js'

/**
 * @param {string} folder
 * @returns {Promise<typeof import('../test/onnx/models.js')>}
 */
export async function importModels(folder) {
  const outfile = join(folder, 'models.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('../test/onnx/models.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  return import(outfile)
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {Uint8Array} bytes
 */
export function writeModel(folder, name, bytes) {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}
