/**
 * What a cache costs where nothing comes twice, and what it gives where everything does. Run after `npm run build`:
 * `node bench/direct/cache.js [--rounds 15]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createServing, onnx } from 'mlserving'
import { importModels, writeModel } from '../models.js'
import { ramp } from './raw.js'
import { compare, printMachine } from './rounds.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    'round-ms': { type: 'string', default: '300' },
  },
})
const rounds = Number(values.rounds)
const ms = Number(values['round-ms'])
const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))

/**
 * Inputs of which none comes twice.
 * @param {import('mlserving').AnyServing} serving
 * @param {string} model
 * @param {number} width
 */
function unique(serving, model, width) {
  const x = ramp(width)
  let count = 0
  return () => {
    // The serving has read it by the time the call returns.
    x[0] = ++count % 2 ** 24
    x[1] = Math.floor(count / 2 ** 24)
    return serving.predict(model, { x })
  }
}

/**
 * @param {string} title
 * @param {number[]} sizes of the layers
 * @param {Omit<Parameters<typeof onnx>[0], 'source' | 'cache'>} options
 */
async function uniqueKeys(title, sizes, options) {
  const [width = 0, second = 0, ...more] = sizes
  const source = writeModel(folder, `${width}.onnx`, mlp([width, second, ...more]))
  const serving = createServing({
    models: { off: onnx({ source, ...options }), on: onnx({ source, ...options, cache: true }) },
  })
  await serving.ready()
  for (const concurrency of [1, 64]) {
    await compare(
      `Unique keys, ${title}`,
      {
        'cache off': { call: unique(serving, 'off', width) },
        'cache on': { call: unique(serving, 'on', width) },
      },
      { concurrency, rounds, ms },
    )
  }
  await serving.close()
}

async function hits() {
  const source = writeModel(folder, 'hits.onnx', mlp([64, 32, 2]))
  const serving = createServing({ models: { model: onnx({ source, cache: true }) } })
  await serving.ready()
  const x = ramp(64)
  const ways = { 'the same input': { call: () => serving.predict('model', { x }) } }
  for (const concurrency of [1, 64]) await compare('Hits, 256 bytes', ways, { concurrency, rounds, ms })
  await serving.close()
}

const { mlp } = await importModels(folder)
try {
  printMachine()
  const batching = { maxBatchSize: 64 }
  await uniqueKeys('MLP 64-32-2, inline, batched', [64, 32, 2], { placement: 'inline', batching })
  await uniqueKeys('MLP 512-1024-512-128 (50 us a row), inline', [512, 1024, 512, 128], {
    placement: 'inline',
  })
  await uniqueKeys('MLP 768-1024-512-128, in a thread, batched', [768, 1024, 512, 128], {
    placement: 'thread',
    batching,
  })
  await hits()
} finally {
  rmSync(folder, { recursive: true })
}
