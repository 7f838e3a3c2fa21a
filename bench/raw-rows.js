/**
 * The runtime alone, on one thread. Argument: the model's file of JSON. Answers each message with the runtime's
 * answers to the model's rows and, where it says `measured`, with what rows cost by batch size.
 */
import { readFileSync } from 'node:fs'
import { InferenceSession } from 'onnxruntime-node'
import { median } from './statistics.js'
import { tensorOf } from './tensor.js'

const batchSizes = [1, 2, 4, 8, 16, 32, 64]
const rounds = 5
const roundMs = 60

const [specFile = ''] = process.argv.slice(2)
/** @type {import('./http-models.js').Prepared} */
const { file, input, output, rows } = JSON.parse(readFileSync(specFile, 'utf8'))
const session = await InferenceSession.create(file, { intraOpNumThreads: 1 })

/** @param {readonly unknown[]} batch */
async function run(batch) {
  const outputs = await session.run({ [input.name]: tensorOf(input, batch) }, [output])
  return Array.from(/** @type {Float32Array} */ (outputs[output]?.data))
}

/**
 * CPU and wall-clock time of one run.
 * @param {Parameters<typeof session.run>[0]} feeds
 */
async function costOf(feeds) {
  const cpu = process.cpuUsage()
  const started = performance.now()
  let runs = 0
  for (; performance.now() < started + roundMs; runs++) await session.run(feeds, [output])
  const { user, system } = process.cpuUsage(cpu)
  return { cpuMs: (user + system) / 1e3 / runs, wallMs: (performance.now() - started) / runs }
}

/** The batch sizes take turns, so that what else the machine does meets all of them. */
async function measure() {
  const feeds = batchSizes.map((size) => {
    const batch = Array.from({ length: size }, (_, i) => rows[i % rows.length])
    return { [input.name]: tensorOf(input, batch) }
  })
  for (const each of feeds) await session.run(each, [output])
  /** @type {Awaited<ReturnType<typeof costOf>>[][]} */
  const costs = feeds.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, each] of feeds.entries()) costs[i]?.push(await costOf(each))
  }
  return {
    runMs: median((costs[0] ?? []).map(({ wallMs }) => wallMs)),
    batches: batchSizes.map((size, i) => ({
      rows: size,
      cpuMsPerRow: median((costs[i] ?? []).map(({ cpuMs }) => cpuMs)) / size,
    })),
  }
}

process.on('message', async (/** @type {{ measured: boolean }} */ { measured }) => {
  const expected = []
  for (const row of rows) expected.push(await run([row]))
  const costs = measured ? await measure() : { runMs: (await costOf(feedsOfFirst())).wallMs, batches: [] }
  process.send?.({ expected, ...costs })
})

function feedsOfFirst() {
  return { [input.name]: tensorOf(input, rows.slice(0, 1)) }
}
