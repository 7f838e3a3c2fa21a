/**
 * `import source from './thread-worker.js?source'` gives the self-contained CommonJS source of that module as a
 * string, so that a worker starts from memory and every bundler and module format finds it.
 *
 * One implementation, two doors: tsup builds with the esbuild plugin, vitest runs with the vite plugin.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { build, type Plugin as EsbuildPlugin } from 'esbuild'
import type { Plugin as VitePlugin } from 'vitest/config'

const suffix = '?source'
const name = 'inline-worker'

interface Bundle {
  readonly source: string
  /** Absolute paths of the files it was made from. */
  readonly files: string[]
}

async function bundleWorker(file: string): Promise<Bundle> {
  const result = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['onnxruntime-node'],
    plugins: [inlineWorkerEsbuild()],
    minifyWhitespace: true,
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
  })
  const [output] = result.outputFiles
  if (output === undefined) throw new Error(`${file}: esbuild made no output`)
  const files = Object.keys(result.metafile.inputs).map((input) => path.resolve(input))
  return { source: output.text, files }
}

/** The file that a `?source` specifier means: TypeScript is imported by the name of its output. */
function workerFile(specifier: string, importer: string): string {
  const file = path.resolve(path.dirname(importer), specifier.slice(0, -suffix.length))
  const typescript = file.replace(/\.js$/, '.ts')
  return existsSync(typescript) ? typescript : file
}

export function inlineWorkerEsbuild(): EsbuildPlugin {
  return {
    name,
    setup(context) {
      context.onResolve({ filter: /\?source$/ }, (args) => ({
        // Relative, as esbuild writes the path into a comment of its output.
        path: path.relative(process.cwd(), workerFile(args.path, args.importer)),
        namespace: name,
      }))
      context.onLoad({ filter: /.*/, namespace: name }, async (args) => {
        const { source, files } = await bundleWorker(path.resolve(args.path))
        return { contents: source, loader: 'text', watchFiles: files }
      })
    },
  }
}

export function inlineWorkerVite(): VitePlugin {
  const prefix = `\0${name}:`
  return {
    name,
    enforce: 'pre',
    resolveId(specifier, importer) {
      if (!specifier.endsWith(suffix) || importer === undefined) return null
      return prefix + workerFile(specifier, importer)
    },
    async load(id) {
      if (!id.startsWith(prefix)) return null
      const { source, files } = await bundleWorker(id.slice(prefix.length))
      for (const file of files) this.addWatchFile(file)
      return `export default ${JSON.stringify(source)}`
    },
  }
}
