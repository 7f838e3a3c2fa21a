/** Writes what was measured: a page of Markdown and a picture. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { coresCommand } from '../cores.js'
import { machine, versions } from '../machine.js'
import { byModel } from './by-model.js'
import { againstLimit, againstNaive, againstPython, atEqualArrival } from './comparisons.js'
import { costOfCache, underOverload } from './own-limits.js'
import { summaryMarks } from './readme.js'
import { measuredServers, summary, titleOf } from './summary.js'
import { picture } from './svg.js'

/**
 * @typedef {object} Measured
 * @property {readonly string[]} args of the command line
 * @property {import('../options.js').Plan} plan
 * @property {Date} began
 * @property {import('../http-models.js').Prepared[]} models
 * @property {Record<string, string>} missing servers that could not be had, and why
 * @property {import('./results.js').Results} results of closed loops
 * @property {import('../experiments/arrival.js').Arrivals[]} arrivals
 * @property {import('../experiments/overload.js').Overload[]} overloads
 * @property {import('../experiments/cache.js').CacheCost[]} caches
 */

/** @param {Measured} measured */
export async function writeReport(measured) {
  const { out } = measured.plan
  mkdirSync(out, { recursive: true })
  const file = join(out, 'http.md')
  const page = await format(pageOf(measured), { ...(await resolveConfig(file)), parser: 'markdown' })
  writeFileSync(file, page)
  writeFileSync(join(out, 'http.svg'), picture(measured))
  return file
}

/** @param {Measured} measured */
function pageOf(measured) {
  return [
    '# Over HTTP',
    conditions(measured),
    summaryMarks.begin,
    '',
    summary(measured),
    '',
    summaryMarks.end,
    '',
    againstLimit(measured),
    againstNaive(measured),
    againstPython(measured),
    atEqualArrival(measured),
    underOverload(measured),
    costOfCache(measured),
    '## All figures',
    ...byModel(measured),
  ]
    .filter((part) => part !== undefined)
    .join('\n\n')
}

/** @param {Measured} measured */
function conditions({ args, began, plan, missing, ...measured }) {
  const servers = measuredServers({ ...measured, args, began, plan, missing })
  const packages = Object.entries(versions(servers)).map(([name, version]) => `${name} ${version}`)
  const shared =
    coresCommand().length === 0
      ? 'servers and load generator share the cores'
      : 'servers are bound to two of the cores'
  return [
    `${began.toISOString().slice(0, 10)}; ${machine()}; ${shared}.`,
    `${packages.join(', ')}.`,
    `\`${['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' ')}\`: ${plan.rounds} rounds of ${plan.seconds} s (longer where a model needs it to answer every caller), in which the servers take turns; medians of the rounds, ratios are medians of the rounds' own.`,
    ...Object.entries(missing).map(([name, reason]) => `${titleOf(name)} is left out: ${reason}.`),
  ].join('\n')
}
