/**
 * What a prediction costs in the process, beside onnxruntime-node itself. Run after `npm run build`:
 * `node bench/direct/predict.js [--only tiny,medium,convolution,transformer] [--rounds 15]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createServing, onnx } from 'mlserving'
import { importModels, writeModel } from '../models.js'
import { ramp, rawSession, rawWorkers, sizeOf } from './raw.js'
import { compare, printMachine } from './rounds.js'

/** @typedef {Parameters<typeof onnx>[0]} OnnxOptions */

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'tiny,medium,convolution,transformer' },
    rounds: { type: 'string', default: '15' },
    /** Of the small models; the others' are as long as some hundred runs. */
    'round-ms': { type: 'string', default: '300' },
    'heavy-round-ms': { type: 'string', default: '1500' },
  },
})
const only = values.only.split(',')
const rounds = Number(values.rounds)
const ms = Number(values['round-ms'])
const heavyMs = Number(values['heavy-round-ms'])
/** What the defaults learn under load, a service has learnt after so long. */
const learningMs = 5000

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { mlp, convolution, transformer } = await importModels(folder)

/**
 * Servings of one model with these options, as ways of predicting one row.
 * @template {string} N
 * @param {string} source
 * @param {readonly number[]} row its shape
 * @param {Record<N, Omit<OnnxOptions, 'source'>>} options by the way's name
 */
async function predicting(source, row, options) {
  const names = /** @type {N[]} */ (Object.keys(options))
  const x = ramp(sizeOf(row))
  const models = Object.fromEntries(names.map((name, i) => [`m${i}`, onnx({ source, ...options[name] })]))
  const serving = createServing({ models })
  await serving.ready()
  const ways = names.map((name, i) => {
    const model = `m${i}`
    const call = () => serving.predict(model, { x })
    return [name, { call, ...(Object.keys(options[name]).length === 0 && { warmUpMs: learningMs }) }]
  })
  return {
    ways: /** @type {Record<N, import('./rounds.js').Way>} */ (Object.fromEntries(ways)),
    close: () => serving.close(),
  }
}

async function tiny() {
  const path = writeModel(folder, 'tiny.onnx', mlp([64, 32, 2]))
  const raw = await rawSession(path, [1, 64])
  const batching = { maxBatchSize: 64 }
  const one = await predicting(path, [64], {
    'predict, inline': { placement: 'inline' },
    'predict, in a thread': { placement: 'thread' },
    'predict, defaults': {},
  })
  await compare('MLP 64-32-2', { 'session.run': { call: raw }, ...one.ways }, { concurrency: 1, rounds, ms })
  await one.close()
  const many = await predicting(path, [64], {
    'predict, batched, inline': { placement: 'inline', batching },
    'predict, batched, in a thread': { placement: 'thread', batching },
    'predict, defaults': {},
  })
  const rawBatch = await rawSession(path, [64, 64], { intraOpNumThreads: 1 })
  await compare(
    'MLP 64-32-2',
    {
      'session.run': { call: raw },
      'session.run, batches of 64': { call: rawBatch, rows: 64, concurrency: 1 },
      ...many.ways,
    },
    { concurrency: 64, rounds, ms },
  )
  await many.close()
}

async function medium() {
  const path = writeModel(folder, 'medium.onnx', mlp([512, 1024, 512, 128]))
  const batching = { maxBatchSize: 64 }
  const workers = await rawWorkers(path, [64, 512])
  const rawBatch = await rawSession(path, [64, 512], { intraOpNumThreads: 1 })
  const { ways, close } = await predicting(path, [512], {
    'predict, batched, inline': { placement: 'inline', batching },
    'predict, batched, in a thread': { placement: 'thread', batching, intraOpThreads: 1 },
    'predict, batched, in two threads': { placement: 'thread', instances: 2, batching },
    'predict, defaults': {},
  })
  await compare(
    'MLP 512-1024-512-128',
    {
      'session.run': { call: await rawSession(path, [1, 512]) },
      'session.run, batches of 64': { call: rawBatch, rows: 64, concurrency: 1 },
      'two raw workers, batches of 64': { call: workers.run, rows: 64, concurrency: 4 },
      ...ways,
    },
    { concurrency: 64, rounds, ms: 2 * ms, withDelay: true },
  )
  await close()
  await workers.close()
}

/**
 * A model that takes milliseconds, which is to use all cores and leave the event loop alone.
 * @param {string} title
 * @param {Uint8Array} model
 * @param {readonly number[]} row
 */
async function heavy(title, model, row) {
  const path = writeModel(folder, 'heavy.onnx', model)
  const workers = await rawWorkers(path, [1, ...row])
  const { ways, close } = await predicting(path, row, {
    'predict, in two threads': { placement: 'thread', instances: 2 },
    'predict, defaults': {},
  })
  await compare(
    title,
    {
      'two raw workers': { call: workers.run, concurrency: 4 },
      ...ways,
      'session.run': { call: await rawSession(path, [1, ...row]), concurrency: 4 },
    },
    { concurrency: 64, rounds, ms: heavyMs, withDelay: true },
  )
  await close()
  await workers.close()
}

/** @type {Record<string, () => Promise<void>>} */
const sections = {
  tiny,
  medium,
  convolution: () => heavy('Convolution', convolution({ layers: 2 }), [1, 8, 8]),
  transformer: () => heavy('Transformer of 2 layers, 32 x 256', transformer(), [32, 256]),
}

try {
  printMachine()
  for (const name of only) await sections[name]?.()
} finally {
  rmSync(folder, { recursive: true })
}
