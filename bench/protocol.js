/**
 * An image of 1x3x224x224 in the forms of the Open Inference Protocol: requests a second, and what each costs the server.
 * Run after `npm run build`: `node bench/protocol.js [--rounds 5] [--seconds 3] [--concurrency 8]`
 *
 * The forms take turns on one server, so that all have the same machine; beside gRPC grpc-js alone. `means` answers three numbers, `identity` the image.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadSync } from '@grpc/proto-loader'
import { ask, start, stop } from './child.js'
import { printMachine, printRow } from './direct/rounds.js'
import { closedLoop } from './load/closed-loop.js'
import { grpcClosedLoop } from './load/grpc-closed-loop.js'
import { importModels, median, writeModel } from './models.js'
import { cpuMsOf } from './process-tree.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '8' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const concurrency = Number(values.concurrency)

/** @typedef {import('./load/closed-loop.js').ClosedLoopFigures} Figures */

/**
 * A form in which the image is sent and the answer comes.
 * @typedef {object} Form
 * @property {string} name
 * @property {(model: string, forSeconds: number) => Promise<Pick<Figures, 'requestsPerSecond' | 'answered' | 'failed' | 'p50Ms'>>} load
 *   asks for so long
 */

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { channelMeans, identityModel, random } = await importModels(folder)
const shape = [1, 3, 224, 224]
const models = {
  means: channelMeans(),
  identity: identityModel({ shape: ['batch', ...shape.slice(1)] }),
}
for (const [name, bytes] of Object.entries(models)) {
  const version = join(folder, 'repository', name, '1')
  mkdirSync(version, { recursive: true })
  writeModel(version, 'model.onnx', bytes)
}
const server = start('servers/protocol-server.js', [join(folder, 'repository')])
const { port, grpcPort, barePort } = await ask(server)

const next = random(1)
const image = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, next)
const input = { name: 'x', datatype: 'FP32', shape }
const flat = Array.from(image)
/**
 * @param {number} from
 * @param {readonly number[]} lengths
 * @returns {unknown[]}
 */
function nestedFrom(from, [length = 0, ...inner]) {
  if (inner.length === 0) return flat.slice(from, from + length)
  const size = inner.reduce((a, b) => a * b)
  return Array.from({ length }, (_, i) => nestedFrom(from + i * size, inner))
}
const raw = new Uint8Array(image.buffer)
const binaryInput = { ...input, parameters: { binary_data_size: raw.byteLength } }

/**
 * The form of a body over HTTP.
 * @param {string} name
 * @param {object} request the body's JSON
 * @param {Uint8Array} [tensors] the raw bytes behind it
 * @returns {Form}
 */
function overHttp(name, request, tensors) {
  const json = Buffer.from(JSON.stringify(request))
  const body = tensors === undefined ? json : Buffer.concat([json, tensors])
  /** @param {string} model */
  const bytesFor = (model) => {
    const lines = [
      `POST /v2/models/${model}/infer HTTP/1.1`,
      `host: 127.0.0.1:${port}`,
      `content-type: ${tensors === undefined ? 'application/json' : 'application/octet-stream'}`,
      `content-length: ${body.length}`,
      ...(tensors === undefined ? [] : [`inference-header-content-length: ${json.length}`]),
    ]
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body])
  }
  return {
    name,
    load: (model, forSeconds) =>
      closedLoop({ port, requests: [bytesFor(model)], concurrency, seconds: forSeconds }),
  }
}

/**
 * Raw contents both ways, over one connection; and the same bytes to grpc-js without a model, which is the limit.
 * @returns {readonly Form[]}
 */
function overGrpc() {
  const proto = fileURLToPath(new URL('../test/v2/inference.proto', import.meta.url))
  const { ModelInfer } = /** @type {import('@grpc/proto-loader').ServiceDefinition} */ (
    loadSync(proto, { keepCase: true })['inference.GRPCInferenceService']
  )
  if (ModelInfer === undefined) throw new Error(`there is no ModelInfer in ${proto}`)
  const { path, requestSerialize } = ModelInfer
  /** @param {string} model */
  const messageFor = (model) =>
    requestSerialize({ model_name: model, inputs: [input], raw_input_contents: [Buffer.from(raw)] })
  /**
   * @param {string} name
   * @param {number} toPort
   * @param {(model: string) => string} pathOf
   * @returns {Form}
   */
  const form = (name, toPort, pathOf) => ({
    name,
    load: (model, forSeconds) =>
      grpcClosedLoop({
        port: toPort,
        path: pathOf(model),
        message: messageFor(model),
        concurrency,
        seconds: forSeconds,
      }),
  })
  return [
    form('gRPC', grpcPort, () => path),
    form('grpc-js, no model', barePort, (model) => `/bare/${model}`),
  ]
}

const forms = [
  overHttp('JSON, flat', { inputs: [{ ...input, data: flat }] }),
  overHttp('JSON, nested', { inputs: [{ ...input, data: nestedFrom(0, shape) }] }),
  overHttp('binary', { inputs: [binaryInput], parameters: { binary_data_output: true } }, raw),
  ...overGrpc(),
]

/**
 * @param {Form} form
 * @param {string} model
 * @param {number} forSeconds
 */
async function measure({ load }, model, forSeconds) {
  const before = cpuMsOf(server.pid ?? NaN)
  const { requestsPerSecond, answered, failed, p50Ms } = await load(model, forSeconds)
  if (failed > 0) throw new Error(`${failed} requests failed`)
  return { requestsPerSecond, p50Ms, cpuMs: (cpuMsOf(server.pid ?? NaN) - before) / answered }
}

printMachine()
printRow(['model', 'form', 'requests/s', 'server CPU ms a request', 'p50 ms'])
printRow(Array.from({ length: 5 }, () => '---'))
for (const model of Object.keys(models)) {
  for (const form of forms) await measure(form, model, seconds)
  /** @type {Map<string, Awaited<ReturnType<typeof measure>>[]>} */
  const results = new Map(forms.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++)
    for (const form of forms) results.get(form.name)?.push(await measure(form, model, seconds))
  for (const [name, measured] of results) {
    const of = (/** @type {'requestsPerSecond' | 'cpuMs' | 'p50Ms'} */ figure) =>
      median(measured.map((each) => each[figure]))
    printRow([
      model,
      name,
      of('requestsPerSecond').toFixed(0),
      of('cpuMs').toFixed(2),
      of('p50Ms').toFixed(1),
    ])
  }
}
await stop(server)
rmSync(folder, { recursive: true })
