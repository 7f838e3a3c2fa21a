/**
 * Fifty small models in one process: what each takes of memory beyond its weights, and what a prediction costs beside
 * one of a serving with a single model. Run after `npm run build`:
 * `node --expose-gc bench/direct/many-models.js [--count 50]`
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createServing, onnx, ServingError } from 'mlserving'
import { importModels, writeModel } from '../models.js'
import { ramp } from './raw.js'
import { compare, printMachine, printRow, significant } from './rounds.js'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '15' },
    'round-ms': { type: 'string', default: '300' },
    /** Of the process that measures one layout. */
    layout: { type: 'string' },
    model: { type: 'string', default: '' },
  },
})
const count = Number(values.count)

/** @type {Record<string, object>} */
const layouts = {
  'a thread each': { placement: 'thread' },
  inline: { placement: 'inline' },
  'one worker for all': { worker: 'shared' },
}

/**
 * @param {string} source
 * @param {object} options
 * @param {number} models
 */
async function start(source, options, models) {
  const entries = Array.from({ length: models }, (_, i) => [`m${i}`, onnx({ source, ...options })])
  const serving = createServing({ models: Object.fromEntries(entries) })
  await serving.ready()
  return serving
}

async function residentBytes() {
  // Freed memory goes back to the system a while later.
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await setTimeout(200)
  }
  return process.memoryUsage().rss
}

/** Measures one layout, in a process of its own: memory that was used once does not all come back. */
async function measureLayout() {
  const options = layouts[values.layout ?? ''] ?? {}
  const x = ramp(64)
  /** @param {import('mlserving').AnyServing} serving */
  const askEach = async (serving, models = count) => {
    for (let i = 0; i < 20 * models; i++) await serving.predict(`m${i % models}`, { x })
  }
  // The first session brings the runtime itself.
  const one = await start(values.model, options, 1)
  await askEach(one, 1)
  const before = await residentBytes()
  const started = performance.now()
  const many = await start(values.model, options, count)
  const startMs = performance.now() - started
  await askEach(many)
  const bytesEach = (await residentBytes()) - before
  process.send?.({ bytesEach: bytesEach / count - statSync(values.model).size, startMs })

  let next = 0
  await compare(
    `${count} models, ${values.layout}`,
    {
      'the only model': { call: () => one.predict('m0', { x }) },
      [`one of ${count}`]: { call: () => many.predict('m7', { x }) },
      [`${count} in turn`]: { call: () => many.predict(`m${(next = (next + 1) % count)}`, { x }) },
    },
    { concurrency: 1, rounds: Number(values.rounds), ms: Number(values['round-ms']) },
  )
  await Promise.all([one.close(), many.close()])
}

/**
 * @param {string} layout
 * @param {string} model
 */
async function inProcess(layout, model) {
  const args = [...process.argv.slice(2), '--layout', layout, '--model', model]
  const child = fork(new URL(import.meta.url), args)
  const ended = once(child, 'exit')
  const [message] = /** @type {[{ bytesEach: number, startMs: number }]} */ (await once(child, 'message'))
  await ended
  return message
}

/** Whether this version of mlserving has the layout's options. */
function exists(/** @type {string} */ layout) {
  try {
    onnx({ source: 'model.onnx', ...layouts[layout] })
    return true
  } catch (error) {
    if (!ServingError.is(error)) throw error
    return false
  }
}

async function measureAll() {
  const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
  try {
    const { mlp } = await importModels(folder)
    const model = writeModel(folder, 'model.onnx', mlp([64, 32, 2]))
    printMachine()
    const rows = []
    for (const layout of Object.keys(layouts)) {
      if (!exists(layout)) {
        console.log(`\nSkipped, since this version has no such option: ${layout}`)
        continue
      }
      const { bytesEach, startMs } = await inProcess(layout, model)
      rows.push([layout, significant(bytesEach / 2 ** 10), significant(startMs)])
    }
    console.log('\n**Memory**\n')
    printRow(['', 'resident KiB a model, beyond its weights', `start of ${count}, ms`])
    console.log('|---|---:|---:|')
    for (const row of rows) printRow(row)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

await (values.layout === undefined ? measureAll() : measureLayout())
