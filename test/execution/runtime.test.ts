import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { findRuntime } from '../../src/execution/runtime.js'
import { identityModel } from '../onnx/models.js'
import { bundle, run, top } from './program.js'
import { modelFolder, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const model = modelFolder()('identity', identityModel()).path
let predictOnce: string
beforeAll(async () => {
  predictOnce = await bundle('predict-once', folder)
})

function emptyFolder(name: string): string {
  const path = join(folder, name)
  mkdirSync(path)
  return path
}

describe('the runtime', () => {
  it('is found from this package, with its telemetry off before anything of it is loaded', () => {
    delete process.env.ORT_DISABLE_TELEMETRY
    expect(findRuntime()).toBe(join(top, 'node_modules', 'onnxruntime-node', 'dist', 'index.js'))
    expect(process.env.ORT_DISABLE_TELEMETRY).toBe('1')
  })

  it("leaves the user's own word on telemetry", () => {
    process.env.ORT_DISABLE_TELEMETRY = '0'
    findRuntime()
    expect(process.env.ORT_DISABLE_TELEMETRY).toBe('0')
  })

  it('is found from the working directory by a bundle that lies elsewhere', async () => {
    const { stdout } = await run(predictOnce, [model])
    expect(JSON.parse(stdout)).toEqual({ prediction: [1, 2, 3] })
  })

  it('is told to be missing, with what to do, where it is not installed', async () => {
    const { stdout, stderr, code } = await run(predictOnce, [model], { cwd: emptyFolder('empty') })
    const { code: errorCode, message } = JSON.parse(stdout) as { code: string; message: string }
    expect(errorCode).toBe('MODEL_NOT_READY')
    expect(message).toContain('onnxruntime-node is not installed')
    expect(message).toContain('npm install onnxruntime-node')
    expect({ stderr, code }).toEqual({
      stderr: expect.stringContaining('npm install onnxruntime-node'),
      code: 0,
    })
  })

  it("writes nothing into the user's folders", async () => {
    const [home, cache, temporary] = ['home', 'cache', 'tmp'].map(emptyFolder)
    const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env
    const places = { HOME: home, XDG_CACHE_HOME: cache, TMPDIR: temporary, TEMP: temporary, TMP: temporary }
    const { stdout } = await run(predictOnce, [model], { env: { ...env, ...places } })
    expect(JSON.parse(stdout)).toEqual({ prediction: [1, 2, 3] })
    expect([home, cache, temporary].map((path = '') => readdirSync(path))).toEqual([[], [], []])
  })
})

describe("the host's options of Node", () => {
  it.each(['--input-type=module', '--disallow-code-generation-from-strings', '--throw-deprecation'])(
    'do no harm in the worker: %s',
    async (option) => {
      // The option for source text says nothing of a file, so the program is given as text.
      const program = `globalThis.process.argv[2] = ${JSON.stringify(model)}; await import(${JSON.stringify(predictOnce)})`
      const node = [option, '--input-type=module']
      const { stdout, stderr } = await run('--eval', [program], { node })
      expect({ stdout, stderr }).toEqual({ stdout: '{"prediction":[1,2,3]}\n', stderr: '' })
    },
  )
})

describe.each(['index.js', 'index.cjs'])('loading dist/%s', (file) => {
  it('loads neither the runtime nor a worker', async () => {
    const built = join(top, 'dist', file)
    if (!existsSync(built)) throw new Error('Nothing is built: run `npm run build` first.')
    const program = `
      let workers = 0
      process.on('worker', () => workers++)
      const loaded = ${file.endsWith('.cjs') ? `require(${JSON.stringify(built)})` : `await import(${JSON.stringify(built)})`}
      const native = process.report.getReport().sharedObjects.filter((path) => path.includes('onnxruntime'))
      console.log(JSON.stringify({ serving: typeof loaded.createServing, workers, native }))
    `
    const type = file.endsWith('.cjs') ? '--input-type=commonjs' : '--input-type=module'
    const { stdout, stderr } = await run('--eval', [program], { node: [type] })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({ serving: 'function', workers: 0, native: [] })
  })
})

describe('two copies of the package in one process', () => {
  it('share one runtime in each thread, the permits, and end cleanly', async () => {
    const [esm, cjs] = ['index.js', 'index.cjs'].map((file) => JSON.stringify(join(top, 'dist', file)))
    const program = `
      import { createRequire } from 'node:module'
      const copies = [await import(${esm}), createRequire(import.meta.url)(${cjs})]
      const on = (key) => globalThis[Symbol.for('mlserving.' + key)]
      const seen = new Set()
      for (const { createServing, onnx } of copies) {
        for (const placement of ['inline', 'thread']) {
          const serving = createServing({ models: { m: onnx({ source: ${JSON.stringify(model)}, placement }) } })
          await serving.ready()
          const { prediction } = await serving.predict('m', { x: [1, 2, 3] })
          console.log(JSON.stringify(prediction))
          seen.add(on('onnxruntime')).add(on('permits'))
        }
      }
      console.log(copies[0].createServing !== copies[1].createServing, seen.size, seen.has(undefined))
    `
    const { stdout, stderr, code } = await run('--eval', [program], { node: ['--input-type=module'] })
    const answers = '[1,2,3]\n'.repeat(4)
    expect({ stdout, stderr, code }).toEqual({ stdout: `${answers}true 2 false\n`, stderr: '', code: 0 })
  })
})
