/**
 * mlserving beside what users would take instead, over HTTP: one run, one load generator, the same models and bodies.
 * `npm run bench` is a subset of a quarter of an hour, `npm run bench -- --full` all of it; options.js has the others.
 *
 * Each server is a process of its own, and so is the load generator. The servers take turns in short rounds, so that
 * what else the machine does meets all of them; figures are medians of the rounds, ratios medians of the rounds' own.
 * Every server must first answer as the raw runtime does.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { start, stop } from './child.js'
import { equalArrivals } from './experiments/arrival.js'
import { cacheCost, uniqueRows } from './experiments/cache.js'
import { closedRounds, healthFromMs } from './experiments/closed.js'
import { overload } from './experiments/overload.js'
import { warmUp } from './experiments/target.js'
import { prepareModel } from './http-models.js'
import { coresCommand } from './cores.js'
import { planOf, resultsFolder } from './options.js'
import { copySummary } from './report/readme.js'
import { Results } from './report/results.js'
import { writeReport } from './report/write.js'
import { startServer } from './servers/catalog.js'

/** Rows of a model that are asked in turn. */
const rows = 16

const args = process.argv.slice(2)
const plan = planOf(args)
const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const surroundings = { folder, cores: coresCommand() }
const generator = start('load/generator.js', [])

/** @type {import('./report/write.js').Measured} */
const measured = {
  args,
  plan,
  began: new Date(),
  models: [],
  missing: {},
  results: new Results(),
  arrivals: [],
  overloads: [],
  caches: [],
}

/** @param {string} name of a model */
async function measureModel(name) {
  const { specFile, model } = await prepareModel(name, folder, { rows, measured: true })
  measured.models.push(model)
  const servers = []
  for (const kind of plan.servers) {
    if (kind in measured.missing) continue
    console.error(`${name}: starting ${kind}`)
    const server = await startServer(kind, specFile, surroundings)
    if ('missing' in server) {
      console.error(`${kind} is left out: ${server.missing}`)
      measured.missing[kind] = server.missing
      continue
    }
    servers.push(server)
    await warmUp(generator, server, specFile, plan.warmUpSeconds)
  }
  console.error(`${name}: measuring`)
  const options = { generator, servers, model, specFile, plan, results: measured.results }
  await closedRounds(options)
  if (plan.parts.includes('arrival')) {
    const arrivals = await equalArrivals(options)
    if (arrivals !== undefined) measured.arrivals.push(arrivals)
  }
  await Promise.all(servers.map((server) => server.stop()))
  if (plan.parts.includes('overload') && model.runMs >= healthFromMs) {
    console.error(`${name}: overload`)
    measured.overloads.push(await overload({ generator, model, specFile, plan, surroundings }))
  }
}

/** @param {string} name of a model */
async function measureCache(name) {
  console.error(`${name}: cache`)
  const { specFile, model } = await prepareModel(name, folder, { rows: uniqueRows, measured: false })
  measured.caches.push(await cacheCost({ generator, model, specFile, plan, surroundings }))
}

try {
  for (const name of plan.models) {
    await measureModel(name)
    await writeReport(measured) // what comes later may fail
  }
  if (plan.parts.includes('cache')) {
    // Where there is least to compute, looking up costs most.
    for (const name of ['tiny', 'med'].filter((each) => plan.models.includes(each))) await measureCache(name)
  }
  const page = await writeReport(measured)
  console.error(`written to ${page}`)
  if (plan.out === resultsFolder) copySummary('README.md', page)
} finally {
  await stop(generator)
  rmSync(folder, { recursive: true })
}
