import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { modelsDir, PackedProject, run } from './packed.js'

/** What each program starts with, in both formats: [names, module]. */
type Imports = readonly (readonly [names: string, from: string])[]

/** One for each way to use the package; each predicts once. */
const programs: Record<string, { imports: Imports; main: string }> = {
  direct: {
    imports: [['{ createServing }', 'mlserving']],
    main: `
      const serving = createServing(modelsDir)
      await serving.ready()
      const { prediction } = await serving.predict('sentiment', { text: 'I love it' })
      await serving.close()
      return prediction`,
  },
  express: {
    imports: [
      ['express', 'express'],
      ['{ createServing }', 'mlserving'],
      ['{ mlServing }', 'mlserving/express'],
    ],
    main: `
      const serving = createServing(modelsDir)
      await serving.ready()
      const server = express().use(mlServing(serving)).listen(0)
      await once(server, 'listening')
      const response = await fetch('http://127.0.0.1:' + server.address().port + '/models/sentiment/predict', {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ text: 'I love it' }),
      })
      const { prediction } = await response.json()
      server.close()
      await serving.close()
      return prediction`,
  },
  remote: {
    imports: [
      ['express', 'express'],
      ['{ createServing }', 'mlserving'],
      ['{ InferenceClient, strings }', 'mlserving/client'],
      ['{ mlServing }', 'mlserving/express'],
      ['{ remote }', 'mlserving/remote'],
    ],
    main: `
      const serving = createServing(modelsDir)
      await serving.ready()
      const server = express().use(mlServing(serving)).listen(0)
      await once(server, 'listening')
      const url = 'http://127.0.0.1:' + server.address().port
      const inputs = { text: strings(['I love it']) }
      const { outputs } = await new InferenceClient({ url }).infer('sentiment', { inputs })
      const task = { type: 'classification', output: 'probabilities', classes: ['negative', 'positive'] }
      const proxy = createServing({ models: { sentiment: remote({ url, model: 'sentiment', task }) } })
      await proxy.ready()
      const { prediction, confidence } = await proxy.predict('sentiment', { text: 'I love it' })
      await proxy.close()
      server.close()
      server.closeAllConnections()
      await serving.close()
      return outputs.probabilities.data.includes(Math.fround(confidence)) ? prediction : 'another'`,
  },
  fastify: {
    imports: [
      ['fastify', 'fastify'],
      ['{ createServing }', 'mlserving'],
      ['{ mlServing }', 'mlserving/fastify'],
    ],
    main: `
      const serving = createServing(modelsDir)
      await serving.ready()
      const app = fastify()
      app.register(mlServing, { serving })
      const url = '/models/sentiment/predict'
      const response = await app.inject({ method: 'POST', url, payload: { text: 'I love it' } })
      await app.close()
      await serving.close()
      return response.json().prediction`,
  },
  grpc: {
    imports: [
      ['{ Client, credentials }', '@grpc/grpc-js'],
      ['{ createServing }', 'mlserving'],
      ['{ grpcServer }', 'mlserving/grpc'],
    ],
    main: `
      const serving = createServing(modelsDir)
      await serving.ready()
      const server = grpcServer(serving, { port: 0 })
      const client = new Client('127.0.0.1:' + (await server.listen()), credentials.createInsecure())
      // Of the model "sentiment" one text, and of its scores the class of the highest.
      const field = (number, bytes) => Buffer.concat([Buffer.of((number << 3) | 2, bytes.length), bytes])
      const text = (number, value) => field(number, Buffer.from(value))
      const contents = field(5, text(8, 'I love it'))
      const input = Buffer.concat([text(1, 'text'), text(2, 'BYTES'), field(3, Buffer.of(1)), contents])
      const best = field(2, Buffer.concat([text(1, 'classification'), field(2, Buffer.of(0x10, 1))]))
      const output = Buffer.concat([text(1, 'probabilities'), best])
      const request = Buffer.concat([text(1, 'sentiment'), field(5, input), field(6, output)])
      const same = (bytes) => bytes
      const answer = await new Promise((resolve, reject) =>
        client.makeUnaryRequest('/inference.GRPCInferenceService/ModelInfer', same, same, request, (error, value) =>
          error ? reject(error) : resolve(value)))
      client.close()
      await server.close()
      await serving.close()
      return /negative|positive/.exec(String(answer))[0]`,
  },
}

function source(name: string, format: 'esm' | 'cjs'): string {
  const { imports, main } = programs[name] ?? { imports: [], main: '' }
  const lines = [...imports, ['{ once }', 'node:events'] as const].map(([names, from]) =>
    format === 'esm' ? `import ${names} from '${from}'` : `const ${names} = require('${from}')`,
  )
  return `${lines.join('\n')}
    let workers = 0
    process.on('worker', () => workers++)
    async function main(modelsDir) {${main}
    }
    main(process.argv[2]).then((prediction) => console.log(JSON.stringify({ prediction, inThread: workers > 0 })))
  `
}

let project: PackedProject

beforeAll(async () => {
  project = await PackedProject.create()
  // A bundle brings everything with it but the native runtime.
  await project.link('elsewhere', ['onnxruntime-node'])
})

afterAll(async () => {
  await project[Symbol.asyncDispose]()
})

/** Writes a program beside the installed package. */
async function write(name: string, format: 'esm' | 'cjs'): Promise<string> {
  const file = path.join(project.dir, 'app', `${name}.${format === 'esm' ? 'mjs' : 'cjs'}`)
  await writeFile(file, source(name, format))
  return file
}

/** Bundles a program into a folder where the package is not installed. */
async function bundle(name: string, format: 'esm' | 'cjs'): Promise<string> {
  const outfile = path.join(project.dir, 'elsewhere', `${name}.${format === 'esm' ? 'mjs' : 'cjs'}`)
  await build({
    entryPoints: [await write(name, 'esm')],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    external: ['onnxruntime-node'],
    logLevel: 'error',
    // CommonJS dependencies in an ES module need a `require`; this is esbuild's usual remedy.
    ...(format === 'esm' && {
      banner: {
        js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
      },
    }),
  })
  return outfile
}

async function answerOf(file: string): Promise<unknown> {
  // From a folder that helps to find nothing.
  const cwd = path.join(project.dir, 'nowhere')
  await mkdir(cwd, { recursive: true })
  return JSON.parse(await run(process.execPath, [file, modelsDir], cwd))
}

const expected = { prediction: 'positive', inThread: true }

test("model.json's schema can be imported by its name", async () => {
  const file = path.join(project.dir, 'app', 'schema.cjs')
  await writeFile(file, `console.log(JSON.stringify(require('mlserving/schema/model.schema.json')))`)
  expect(await answerOf(file)).toMatchObject({ title: 'model.json of mlserving' })
})

describe.each(Object.keys(programs))('%s', (name) => {
  test.each(['esm', 'cjs'] as const)('installed, %s', async (format) => {
    expect(await answerOf(await write(name, format))).toEqual(expected)
  })

  test.each(['esm', 'cjs'] as const)('bundled into %s and moved elsewhere', async (format) => {
    expect(await answerOf(await bundle(name, format))).toEqual(expected)
  })
})

test("the tarball holds the build, the pages, the bench's results and model.json's schema, and nothing else", async () => {
  const pages = /^((README|CHANGELOG|SECURITY|docs\/[\w-]+)\.md|bench\/results\/http\.(md|svg))$/
  const strange = project.files.filter(
    (file) =>
      !/^(dist\/|bench\/results\/|schema\/model\.schema\.json$|package\.json$|LICENSE$)/.test(file) &&
      !pages.test(file),
  )
  expect(strange).toEqual([])
  expect(project.files).toEqual(expect.arrayContaining(['schema/model.schema.json', 'docs/models.md']))
  const home = path.join(project.dir, 'app/node_modules/mlserving')
  for (const page of project.files.filter((file) => file.endsWith('.md'))) {
    const text = await readFile(path.join(home, page), 'utf8')
    const links = [...text.matchAll(/\]\((?!\w+:|#)([^)#]+)/g)].map(([, link = '']) => link)
    const targets = links.map((link) => path.posix.join(path.posix.dirname(page), link))
    expect(
      targets.filter((target) => !project.files.includes(target)),
      page,
    ).toEqual([])
  }
  const root = path.resolve(import.meta.dirname, '../..')
  for (const file of project.files) {
    const text = await readFile(path.join(project.dir, 'app/node_modules/mlserving', file), 'utf8')
    expect(text.includes(root), `${file} names the folder it was built in`).toBe(false)
  }
})
