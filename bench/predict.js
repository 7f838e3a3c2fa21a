/**
 * What a prediction costs in the process, beside calls of onnxruntime-node itself. Run after `npm run build`:
 * `node bench/predict.js`
 *
 * The ways take turns in short rounds, so that what else the machine does meets all of them; figures are medians,
 * and relative ones are medians of the rounds' own ratios.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createServing, onnx } from 'mlserving'
import { importModels, median, writeModel } from './models.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    'round-ms': { type: 'string', default: '400' },
  },
})
const rounds = Number(values.rounds)
const roundMs = Number(values['round-ms'])

process.env.ORT_DISABLE_TELEMETRY = '1'
const { InferenceSession, Tensor } = await import('onnxruntime-node')
const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))

/**
 * Calls again and again, `concurrency` at a time, for one round.
 * @param {() => Promise<unknown>} call
 * @param {number} concurrency
 */
async function perSecond(call, concurrency) {
  let calls = 0
  const started = performance.now()
  const end = started + roundMs
  const caller = async () => {
    // The clock is not read for each call: that costs a twentieth of an answer from the cache.
    while (performance.now() < end) {
      for (let i = 0; i < 16; i++) await call()
      calls += 16
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  return (calls / (performance.now() - started)) * 1000
}

/**
 * @param {string} name
 * @param {number} concurrency
 * @param {Record<string, () => Promise<unknown>>} ways the first is what the others are compared to
 */
async function compare(name, concurrency, ways) {
  const calls = Object.entries(ways)
  for (const [, call] of calls) await perSecond(call, concurrency)
  /** @type {number[][]} */
  const figures = calls.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, [, call]] of calls.entries()) figures[i]?.push(await perSecond(call, concurrency))
  }
  const [first = []] = figures
  for (const [i, [way]] of calls.entries()) {
    const row = figures[i] ?? []
    const ratio = median(row.map((figure, round) => figure / (first[round] ?? NaN)))
    const rate = Math.round(median(row)).toLocaleString('en')
    console.log(`| ${i === 0 ? name : ''} | ${concurrency} | ${way} | ${rate} | ${ratio.toFixed(2)} |`)
  }
}

/**
 * @param {string} path
 * @param {number} width
 */
async function naive(path, width) {
  const session = await InferenceSession.create(path)
  const input = Float32Array.from({ length: width }, (_, i) => i / width)
  return () => session.run({ x: new Tensor('float32', input, [1, width]) })
}

try {
  const { mlp } = await importModels(folder)
  const tiny = writeModel(folder, 'tiny.onnx', mlp([64, 32, 2]))
  const medium = writeModel(folder, 'medium.onnx', mlp([512, 1024, 512, 128]))
  const batching = /** @type {const} */ ({ safe: true, maxBatchSize: 64 })
  const serving = createServing({
    models: {
      tiny: onnx({ source: tiny, placement: 'inline' }),
      tinyInThread: onnx({ source: tiny, placement: 'thread' }),
      tinyBatched: onnx({ source: tiny, placement: 'inline', batching }),
      tinyBatchedInThread: onnx({ source: tiny, placement: 'thread', batching }),
      mediumBatched: onnx({ source: medium, placement: 'inline', batching }),
      mediumBatchedInThread: onnx({ source: medium, placement: 'thread', batching }),
      cached: onnx({ source: tiny, cache: true }),
    },
  })
  await serving.ready()
  const x64 = Float32Array.from({ length: 64 }, (_, i) => i / 64)
  const x512 = Float32Array.from({ length: 512 }, (_, i) => i / 512)
  /**
   * @param {Parameters<typeof serving.predict>[0]} model
   * @param {Float32Array} x
   */
  const predict = (model, x) => () => serving.predict(model, { x })

  const [cpu] = cpus()
  console.log(
    `Node ${process.version}, ${cpus().length} x ${cpu?.model.trim()}; ${rounds} rounds of ${roundMs} ms.\n`,
  )
  console.log('| | concurrency | | calls a second | relative |\n|---|---:|---|---:|---:|')
  const tinyNaive = await naive(tiny, 64)
  await compare('MLP 64-32-2', 1, {
    'session.run': tinyNaive,
    'predict, inline': predict('tiny', x64),
    'predict, in a thread': predict('tinyInThread', x64),
    'predict, from the cache': predict('cached', x64),
  })
  await compare('MLP 64-32-2, 64 at once', 64, {
    'session.run': tinyNaive,
    'predict, batched, inline': predict('tinyBatched', x64),
    'predict, batched, in a thread': predict('tinyBatchedInThread', x64),
    'predict, from the cache': predict('cached', x64),
  })
  await compare('MLP 512-1024-512-128, 64 at once', 64, {
    'session.run': await naive(medium, 512),
    'predict, batched, inline': predict('mediumBatched', x512),
    'predict, batched, in a thread': predict('mediumBatchedInThread', x512),
  })
  await serving.close()
} finally {
  rmSync(folder, { recursive: true })
}
