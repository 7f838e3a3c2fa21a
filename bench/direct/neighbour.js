/**
 * What a small model's requests wait for beside a model that is flooded. The aim: p50 at most twice what it is alone,
 * plus one run of the other. Run after `npm run build`: `node bench/direct/neighbour.js [--rounds 10]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createServing, onnx } from 'mlserving'
import { importModels, median, writeModel } from '../models.js'
import { ramp } from './raw.js'
import { printMachine, printRow, significant } from './rounds.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    'round-ms': { type: 'string', default: '1500' },
    concurrency: { type: 'string', default: '64' },
  },
})
const rounds = Number(values.rounds)
const ms = Number(values['round-ms'])
const concurrency = Number(values.concurrency)

/** @typedef {{ p50Ms: number, p99Ms: number }} Latencies */

/**
 * Latencies of requests one after another, for a while.
 * @param {() => Promise<unknown>} call
 * @returns {Promise<Latencies>}
 */
async function latencies(call) {
  const times = []
  const end = performance.now() + ms
  for (let started = performance.now(); started < end;) {
    await call()
    const now = performance.now()
    times.push(now - started)
    started = now
  }
  times.sort((a, b) => a - b)
  return { p50Ms: median(times), p99Ms: times[Math.ceil(times.length * 0.99) - 1] ?? NaN }
}

/**
 * Keeps a model flooded while `work` is under way.
 * @template T
 * @param {() => Promise<unknown>} call
 * @param {() => Promise<T>} work
 */
async function flooded(call, work) {
  let isOver = false
  const caller = async () => {
    while (!isOver) await call()
  }
  const callers = Array.from({ length: concurrency }, caller)
  const result = await work()
  isOver = true
  await Promise.all(callers)
  return result
}

/**
 * @param {string} title
 * @param {{ small: Omit<Parameters<typeof onnx>[0], 'source'>, large: Omit<Parameters<typeof onnx>[0], 'source'> }} options
 */
async function neighbours(title, options) {
  const serving = createServing({
    models: {
      small: onnx({ source: small, ...options.small }),
      large: onnx({ source: large, ...options.large }),
    },
  })
  await serving.ready()
  const predictSmall = () => serving.predict('small', { x: xSmall })
  const predictLarge = () => serving.predict('large', { x: xLarge })
  await latencies(predictSmall)
  await flooded(predictLarge, () => latencies(predictSmall))

  /** @type {{ alone: Latencies, run: Latencies, beside: Latencies, ofAim: number }[]} */
  const figures = []
  for (let round = 0; round < rounds; round++) {
    const alone = await latencies(predictSmall)
    const run = await latencies(predictLarge)
    const beside = await flooded(predictLarge, () => latencies(predictSmall))
    figures.push({ alone, run, beside, ofAim: beside.p50Ms / (2 * alone.p50Ms + run.p50Ms) })
  }
  await serving.close()

  /** @param {'alone' | 'run' | 'beside'} key */
  const cells = (key) => [
    significant(median(figures.map((figure) => figure[key].p50Ms))),
    significant(median(figures.map((figure) => figure[key].p99Ms))),
  ]
  console.log(`\n**${title}**, ${rounds} rounds of ${ms} ms\n`)
  printRow(['', 'p50, ms', 'p99, ms'])
  console.log('|---|---:|---:|')
  printRow(['the small model alone', ...cells('alone')])
  printRow(['the large one alone, one at once', ...cells('run')])
  printRow([`the small one, beside ${concurrency} requests of the large one`, ...cells('beside')])
  printRow(['its p50, of the aim', median(figures.map(({ ofAim }) => ofAim)).toFixed(2), ''])
}

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { mlp, convolution } = await importModels(folder)
const small = writeModel(folder, 'small.onnx', mlp([512, 1024, 512, 128]))
const large = writeModel(folder, 'large.onnx', convolution({ layers: 2 }))
const xSmall = ramp(512)
const xLarge = ramp(64)
try {
  printMachine()
  await neighbours('Both with the defaults', { small: {}, large: {} })
  await neighbours('The large one in a thread a core', {
    small: { intraOpThreads: 1 },
    large: { placement: 'thread', instances: 2 },
  })
} finally {
  rmSync(folder, { recursive: true })
}
