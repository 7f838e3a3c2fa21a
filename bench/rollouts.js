/**
 * How often automatic rollouts decide wrongly, and after how many requests: simulated, with a clock that is moved and
 * seeded random numbers. `node bench/rollouts.js [rollouts of each row, default 10000]` prints the table of
 * docs/rollout.md.
 */
import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'
import { percentile } from './statistics.js'

/** @typedef {import('./rollouts/simulation.js').Scenario} Scenario */

const rollouts = Number(process.argv[2] ?? 10_000)
const simulate = await importSimulation()

/** @type {Scenario['options']} */
const options = {
  guards: {
    errorRatio: { maxIncrease: 0.01 },
    latency: { quantile: 0.95, maxRatio: 1.5 },
    agreement: { min: 0.98 },
  },
}
const good = { errorRatio: 0.01 }

/** @type {[name: string, candidate: Scenario['candidate'], stable?: Scenario['stable']][]} */
const rows = [
  ['as good: 1 % errors, as fast, 99.5 % agreement', good],
  ['as good: both 0.1 % errors', { errorRatio: 0.001 }, { errorRatio: 0.001 }],
  ['as good: both 5 % errors', { errorRatio: 0.05 }, { errorRatio: 0.05 }],
  ['better: 0.5 % errors', { errorRatio: 0.005 }],
  ['half of what is allowed: 1.5 % errors', { errorRatio: 0.015 }],
  ['just what is not allowed: 2 % errors', { errorRatio: 0.02 }],
  ['2 points worse: 3 % errors', { errorRatio: 0.03 }],
  ['5 points worse: 6 % errors', { errorRatio: 0.06 }],
  ['10 points worse: 11 % errors', { errorRatio: 0.11 }],
  ['always fails', { errorRatio: 1 }],
  ['1.2 times as slow', { ...good, slowness: 1.2 }],
  ['just what is not allowed: 1.5 times as slow', { ...good, slowness: 1.5 }],
  ['3 times as slow', { ...good, slowness: 3 }],
  ['just what is not allowed: 98 % agreement', { ...good, agreement: 0.98 }],
  ['95 % agreement', { ...good, agreement: 0.95 }],
  ['80 % agreement', { ...good, agreement: 0.8 }],
]

console.log(`${rollouts} rollouts each, requests of the new version`)
console.log(
  '| the new version | rolled back | after, median (p95) | promoted | after, median (p95) | undecided |',
)
console.log('| --- | --- | --- | --- | --- | --- |')
for (const [i, [name, candidate, stable = good]] of rows.entries()) {
  const result = simulate({ stable, candidate, options }, rollouts, i + 1)
  const cells = [
    name,
    share(result.rolledBack),
    spread(result.untilRolledBack),
    share(result.promoted),
    spread(result.untilPromoted),
    share(result.undecided),
  ]
  console.log(`| ${cells.join(' | ')} |`)
}

/** @param {number} count */
function share(count) {
  return `${((100 * count) / rollouts).toFixed(2)} %`
}

/** @param {Float64Array} requests */
function spread(requests) {
  if (requests.length === 0) return ''
  const all = [...requests]
  return `${percentile(all, 50)} (${percentile(all, 95)})`
}

/** The simulation runs the source itself. */
async function importSimulation() {
  const entry = fileURLToPath(new URL('rollouts/simulation.ts', import.meta.url))
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
  })
  const source = outputFiles[0]?.text ?? ''
  const module = /** @type {typeof import('./rollouts/simulation.js')} */ (
    await import(`data:text/javascript,${encodeURIComponent(source)}`)
  )
  return module.simulate
}
