/**
 * What live traffic feels of the load of a model of 100 MB beside it. Run after `npm run build`:
 * `node bench/direct/loading.js [--rounds 7]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { setTimeout as wait } from 'node:timers/promises'
import { createServing, onnx } from 'mlserving'
import { importModels, median, writeModel } from '../models.js'
import { percentile } from '../statistics.js'
import { ramp } from './raw.js'
import { printMachine, printRow, significant } from './rounds.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })
const rounds = Number(values.rounds)

/** How long traffic is watched before each load. */
const beforeMs = 1000

/** Callers of the live model, each of whom asks every so many milliseconds. */
const callers = 8
const everyMs = 4

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { mlp } = await importModels(folder)
const small = writeModel(folder, 'small.onnx', mlp([512, 1024, 512, 128]))
const large = writeModel(folder, 'large.onnx', mlp([5000, 5000, 8]))
const serving = createServing({
  models: { live: onnx({ source: small }), large: onnx({ source: large, lazy: true }) },
})
await serving.ready()

const x = Float32Array.from(ramp(512))
let isOver = false
/** @type {number[]} */
let latencies = []
const asking = Promise.all(
  Array.from({ length: callers }, async () => {
    while (!isOver) {
      const started = performance.now()
      await serving.predict('live', { x })
      latencies.push(performance.now() - started)
      await wait(everyMs)
    }
  }),
)
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()

/** @param {() => Promise<unknown>} work */
async function during(work) {
  latencies = []
  delay.reset()
  const started = performance.now()
  await work()
  return {
    ms: performance.now() - started,
    p99Ms: percentile(latencies, 99),
    loopP99Ms: delay.percentile(99) / 1e6,
  }
}

await wait(2000)
/** @typedef {Awaited<ReturnType<typeof during>>} Figures */
const before = /** @type {Figures[]} */ ([])
const loading = /** @type {Figures[]} */ ([])
for (let round = 0; round < rounds; round++) {
  before.push(await during(() => wait(beforeMs)))
  loading.push(await during(() => serving.models.load('large', '1')))
  await serving.models.unload('large')
}
isOver = true
await asking
await serving.close()
rmSync(folder, { recursive: true })

/** @param {readonly Figures[]} figures @param {'ms' | 'p99Ms' | 'loopP99Ms'} name */
const medianOf = (figures, name) => median(figures.map((figure) => figure[name]))
printMachine()
console.log(`\n**A model of 100 MB is loaded beside live traffic**, ${rounds} rounds; ${callers} callers\n`)
printRow(['', 'p99, ms', 'event-loop delay p99, ms', 'took, ms'])
printRow(['---', '---:', '---:', '---:'])
for (const [title, figures] of /** @type {const} */ ([
  ['before', before],
  ['while it loads', loading],
])) {
  const names = /** @type {const} */ (['p99Ms', 'loopP99Ms', 'ms'])
  printRow([title, ...names.map((name) => significant(medianOf(figures, name)))])
}
const ratio = median(loading.map(({ p99Ms }, round) => p99Ms / (before[round]?.p99Ms ?? NaN)))
printRow(['p99, to before', significant(ratio), '', ''])
