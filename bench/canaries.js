/**
 * Rollouts of real models over live traffic, of which three are bad: after how many requests each is taken back. Run after
 * `npm run build`: `node bench/canaries.js [--rounds 5]`
 *
 * A transformer serves; 16 callers, 2 of a large one, ask with a pause of some milliseconds, each time as another user. The pauses leave the
 * cores idle at times: a shadow's copies run then alone.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createServing, onnx } from 'mlserving'
import { importModels, median, writeModel } from './models.js'
import { printMachine, printRow } from './direct/rounds.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)
const pauseMs = 5
const vocabulary = 1000
const length = 16

/** What a rollout may take: a day of a service at such a rate, and no end of a benchmark. */
const mostRequests = 50_000

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { random, textClassifier } = await importModels(folder)
const shape = { length, width: 64, classes: 4 }
const stable = textClassifier({ ...shape, layers: 2, vocabulary })
/** So large that its runs, rather than all else of a request, make up its latency. */
const large = { length, width: 512, classes: 4, vocabulary }

/** @typedef {import('mlserving').RolloutGuards} RolloutGuards */

/** @type {readonly { name: string, stable?: Uint8Array, candidate: Uint8Array, guards: RolloutGuards, callers?: number }[]} */
const scenarios = [
  {
    name: 'fails for one token of 1,000: 1.6 % of the requests',
    candidate: textClassifier({ ...shape, layers: 2, vocabulary: vocabulary - 1 }),
    guards: { errorRatio: { maxIncrease: 0.01 } },
  },
  {
    name: 'fails for one token of 100: 15 % of the requests',
    candidate: textClassifier({ ...shape, layers: 2, vocabulary: vocabulary - 10 }),
    guards: { errorRatio: { maxIncrease: 0.01 } },
  },
  {
    name: '3 times as slow: 6 layers for 2',
    stable: textClassifier({ ...large, layers: 2 }),
    candidate: textClassifier({ ...large, layers: 6 }),
    // Where the cores are never idle, both versions wait for each other, and are equally slow.
    callers: 2,
    guards: { latency: { quantile: 0.95, maxRatio: 1.5 } },
  },
  {
    name: 'other weights: it disagrees',
    candidate: textClassifier({ ...shape, layers: 2, vocabulary, seed: 2 }),
    guards: { agreement: { min: 0.98 } },
  },
  {
    name: 'the same model',
    candidate: stable,
    guards: {
      errorRatio: { maxIncrease: 0.01 },
      latency: { quantile: 0.95, maxRatio: 1.5 },
      agreement: { min: 0.98 },
    },
  },
]

/** @param {(typeof scenarios)[number]} scenario */
async function rollOut({ stable: served = stable, candidate, guards, callers = 16 }) {
  const source = mkdtempSync(join(folder, 'model-'))
  for (const [version, bytes] of /** @type {const} */ ([
    ['1', served],
    ['2', candidate],
  ])) {
    mkdirSync(join(source, version))
    writeModel(join(source, version), 'model.onnx', bytes)
  }
  const serving = createServing({
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    // The runtime writes each failure to stderr unless told not to.
    models: { text: onnx({ source, current: '1', session: { logSeverityLevel: 4 } }) },
  })
  await serving.ready()
  const { models } = serving
  await models.load('text', '2')
  // Both have learnt where they run, and V8 has compiled what is hot.
  const next = random(1)
  const ids = () => BigInt64Array.from({ length }, () => BigInt(Math.floor(next() * vocabulary)))
  for (const version of ['1', '2'])
    for (let i = 0; i < 500; i++) await serving.predict('text', { ids: ids() }, { version }).catch(() => {})

  const began = performance.now()
  await models.startRollout('text', { version: '2', minStepMs: 0, guards })
  let asked = 0
  const isOver = () => {
    const phase = models.rolloutOf('text')?.phase
    return (phase !== 'running' && phase !== 'promoting') || asked >= mostRequests
  }
  let failed = 0
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let i = 0; !isOver(); i++) {
        asked++
        await serving
          .predict('text', { ids: ids() }, { key: `user ${caller + i * callers}` })
          .catch(() => failed++)
        await wait(pauseMs)
      }
    }),
  )
  const seconds = (performance.now() - began) / 1000
  const status = models.rolloutOf('text')
  await serving.close()
  return {
    phase: asked >= mostRequests ? 'undecided' : (status?.phase ?? ''),
    step: `${status?.percent ?? ''} %`,
    reason: status?.reason ?? '',
    requests: status?.figures.candidate.requests ?? 0,
    comparisons: status?.figures.comparisons ?? 0,
    asked,
    failed,
    seconds,
  }
}

printMachine()
printRow([
  'the new version',
  'end',
  'in the step of',
  'its requests',
  'comparisons',
  'requests of all',
  'failed',
  's',
])
printRow(Array.from({ length: 8 }, () => '---'))
for (const scenario of scenarios) {
  /** @type {Awaited<ReturnType<typeof rollOut>>[]} */
  const results = []
  for (let round = 0; round < rounds; round++) results.push(await rollOut(scenario))
  const last = results.at(-1)
  const ends = [...new Set(results.map(({ phase }) => phase))].map(
    (phase) => `${phase} ${results.filter((result) => result.phase === phase).length}`,
  )
  const medianOf = (/** @type {'requests' | 'comparisons' | 'asked' | 'failed'} */ name) =>
    `${median(results.map((result) => result[name]))}`
  printRow([
    scenario.name,
    ends.join(', '),
    [...new Set(results.map(({ step }) => step))].join(', '),
    medianOf('requests'),
    medianOf('comparisons'),
    medianOf('asked'),
    medianOf('failed'),
    median(results.map(({ seconds }) => seconds)).toFixed(1),
  ])
  console.log(`  ${last?.reason ?? ''}`)
}
rmSync(folder, { recursive: true })
