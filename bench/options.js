/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util'
import { modelSources } from './http-models.js'
import { serverCatalog } from './servers/catalog.js'

/** @typedef {'arrival' | 'overload' | 'cache'} Part beside the closed loops */

/**
 * @typedef {object} Plan
 * @property {readonly string[]} models
 * @property {readonly string[]} servers
 * @property {readonly number[]} concurrencies
 * @property {number} seconds of one round of one server
 * @property {number} rounds
 * @property {number} warmUpSeconds before the first round; V8 takes thousands of requests to compile what is hot, mlserving seconds to learn
 * @property {readonly Part[]} parts
 * @property {number} overloadSeconds
 * @property {string} out the folder of the results
 */

/** @type {readonly Part[]} */
const parts = ['arrival', 'overload', 'cache']

/** Where the committed results are, which the README shows. */
export const resultsFolder = 'bench/results'

/** What fits in a quarter of an hour on two cores, and what there is. */
const subset = {
  models: ['tiny', 'med', 'heavy', 'sentiment'],
  concurrencies: [1, 64],
  seconds: 1.5,
  warmUpSeconds: 4,
  rounds: 3,
}
const full = {
  models: Object.keys(modelSources),
  concurrencies: [1, 8, 64, 256],
  seconds: 3,
  warmUpSeconds: 3,
  rounds: 5,
}

/**
 * @param {readonly string[]} args
 * @returns {Plan}
 * @throws {Error} that names the option, where a name or number is not known
 */
export function planOf(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      full: { type: 'boolean', default: false },
      models: { type: 'string' },
      servers: { type: 'string' },
      concurrency: { type: 'string' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      'warm-up-seconds': { type: 'string' },
      parts: { type: 'string' },
      'overload-seconds': { type: 'string', default: '30' },
      'no-python': { type: 'boolean', default: false },
      out: { type: 'string', default: resultsFolder },
    },
  })
  const preset = values.full ? full : subset
  const servers = listOf('servers', values.servers, Object.keys(serverCatalog)) ?? Object.keys(serverCatalog)
  return {
    models: listOf('models', values.models, full.models) ?? preset.models,
    servers: servers.filter((name) => !(values['no-python'] && serverCatalog[name]?.program === 'python')),
    concurrencies:
      values.concurrency?.split(',').map((text) => numberOf('concurrency', text)) ?? preset.concurrencies,
    seconds: numberOf('seconds', values.seconds) ?? preset.seconds,
    rounds: numberOf('rounds', values.rounds) ?? preset.rounds,
    warmUpSeconds: numberOf('warm-up-seconds', values['warm-up-seconds']) ?? preset.warmUpSeconds,
    parts:
      values.parts === ''
        ? []
        : (/** @type {Part[] | undefined} */ (listOf('parts', values.parts, parts)) ?? parts),
    overloadSeconds: numberOf('overload-seconds', values['overload-seconds']),
    out: values.out,
  }
}

/**
 * @param {string} option
 * @param {string | undefined} text
 * @param {readonly string[]} known
 */
function listOf(option, text, known) {
  const names = text?.split(',')
  const unknown = names?.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new Error(`--${option}: "${unknown}" is none of ${known.join(', ')}`)
  return names
}

/**
 * @template {string | undefined} T
 * @param {string} option
 * @param {T} text
 * @returns {T extends string ? number : number | undefined}
 */
function numberOf(option, text) {
  const number = text === undefined ? undefined : Number(text)
  if (number !== undefined && !(number > 0)) throw new Error(`--${option}: "${text}" is not a number above 0`)
  return /** @type {any} */ (number)
}
