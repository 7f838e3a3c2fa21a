/**
 * How often automatic rollouts decide wrongly, and after how many requests: simulated, with a clock that is moved and
 * seeded random numbers. `node bench/rollouts.js [rollouts, default 10000]` prints the table of docs/rollout.md; rows
 * that take long have a tenth of them. What is not decided after 400,000 requests of both counts as undecided.
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

/** @type {{ name: string, candidate: Scenario['candidate'], stable?: Scenario['stable'], long?: boolean }[]} */
const rows = [
  { name: 'as good: 1 % errors, as fast, 99.5 % agreement', candidate: good },
  {
    name: 'as good: both 0.1 % errors',
    candidate: { errorRatio: 0.001 },
    stable: { errorRatio: 0.001 },
    long: true,
  },
  {
    name: 'as good: both 5 % errors',
    candidate: { errorRatio: 0.05 },
    stable: { errorRatio: 0.05 },
    long: true,
  },
  { name: 'better: 0.5 % errors', candidate: { errorRatio: 0.005 }, long: true },
  { name: '0.5 points worse: 1.5 % errors', candidate: { errorRatio: 0.015 }, long: true },
  { name: '1 point worse, the limit: 2 % errors', candidate: { errorRatio: 0.02 }, long: true },
  { name: '2 points worse: 3 % errors', candidate: { errorRatio: 0.03 } },
  { name: '5 points worse: 6 % errors', candidate: { errorRatio: 0.06 } },
  { name: '10 points worse: 11 % errors', candidate: { errorRatio: 0.11 } },
  { name: 'always fails', candidate: { errorRatio: 1 } },
  { name: '1.2 times as slow', candidate: { ...good, slowness: 1.2 }, long: true },
  { name: '1.5 times as slow, the limit', candidate: { ...good, slowness: 1.5 }, long: true },
  { name: '3 times as slow', candidate: { ...good, slowness: 3 } },
  { name: '98 % agreement, the limit', candidate: { ...good, agreement: 0.98 }, long: true },
  { name: '95 % agreement', candidate: { ...good, agreement: 0.95 } },
  { name: '80 % agreement', candidate: { ...good, agreement: 0.8 } },
]

console.log(
  '| the new version | rollouts | rolled back | after, median (p95) | promoted | after, median (p95) | undecided |',
)
console.log('| --- | --- | --- | --- | --- | --- | --- |')
for (const [i, { name, candidate, stable = good, long = false }] of rows.entries()) {
  const count = Math.ceil(long ? rollouts / 10 : rollouts)
  const result = simulate({ stable, candidate, options, mostRequests: 400_000 }, count, i + 1)
  const cells = [
    name,
    count,
    share(result.rolledBack / count),
    spread(result.untilRolledBack),
    share(result.promoted / count),
    spread(result.untilPromoted),
    share(result.undecided / count),
  ]
  console.log(`| ${cells.join(' | ')} |`)
}

/** @param {number} part */
function share(part) {
  return `${(100 * part).toFixed(2)} %`
}

/** @param {Float64Array} requests */
function spread(requests) {
  return requests.length === 0 ? '' : `${percentile([...requests], 50)} (${percentile([...requests], 95)})`
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
