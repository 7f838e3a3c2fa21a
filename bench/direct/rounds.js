/**
 * Ways of doing the same thing, measured side by side in one process. They take turns in short rounds, so that what
 * else the machine does meets all of them; figures are medians, and relative ones are medians of the rounds' own ratios.
 * CPU is the user and system time of the whole process: what a busy machine disturbs least.
 */
import { cpus } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { median } from '../models.js'

/** @typedef {() => Promise<unknown>} Call */
/**
 * @typedef {object} Way
 * @property {Call} call
 * @property {number} [rows] that one call answers; 1 unless said
 * @property {number} [concurrency] in place of the comparison's own
 * @property {number} [warmUpMs] a round unless said
 */
/** @typedef {{ perSecond: number, cpuUs: number, delayP99Ms: number }} Figures each a row */

/** How often the event loop is looked at. What is reported is what comes on top of it. */
const delayResolutionMs = 1

/**
 * Calls again and again, `concurrency` at a time, for a while.
 * @param {Way} way
 * @param {{ concurrency: number, ms: number, callsALook?: number, withDelay?: boolean }} options `callsALook`: calls
 *   between looks at the clock, which cost a twentieth of an answer from the cache
 * @returns {Promise<Figures>}
 */
export async function closedLoop({ call, rows = 1 }, { concurrency, ms, callsALook = 1, withDelay = false }) {
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  if (withDelay) delay.enable()
  let calls = 0
  const cpu = process.cpuUsage()
  const started = performance.now()
  const end = started + ms
  const caller = async () => {
    while (performance.now() < end) {
      for (let i = 0; i < callsALook; i++) await call()
      calls += callsALook
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  delay.disable()
  return {
    perSecond: (calls * rows) / seconds,
    cpuUs: (user + system) / (calls * rows),
    delayP99Ms: Math.max(0, delay.percentile(99) / 1e6 - delayResolutionMs),
  }
}

/**
 * Measures ways and prints a table of them.
 * @param {string} title
 * @param {Record<string, Way>} ways the first is what the others are compared to
 * @param {{ concurrency: number, rounds: number, ms: number, withDelay?: boolean }} options
 * @returns {Promise<Record<string, Figures & { rate: number, cpu: number }>>} `rate` and `cpu` are relative to the first
 */
export async function compare(title, ways, { concurrency, rounds, ms, withDelay = false }) {
  const entries = Object.entries(ways)
  const looks = []
  for (const [, way] of entries) {
    const loop = { concurrency: way.concurrency ?? concurrency, ms: way.warmUpMs ?? ms }
    const { perSecond } = await closedLoop(way, loop)
    looks.push({ ...loop, ms, withDelay, callsALook: perSecond / (way.rows ?? 1) > 10_000 ? 16 : 1 })
  }
  /** @type {Figures[][]} */
  const figures = entries.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, [, way]] of entries.entries()) {
      const loop = looks[i]
      if (loop !== undefined) figures[i]?.push(await closedLoop(way, loop))
    }
  }
  const [first = []] = figures
  console.log(`\n**${title}**, ${concurrency} at once; ${rounds} rounds of ${ms} ms\n`)
  const last = withDelay ? ['event-loop delay p99, ms'] : []
  printRow(['', 'rows a second', 'relative', 'CPU a row, us', 'relative', ...last])
  console.log(`|---|${'---:|'.repeat(4 + last.length)}`)
  /** @type {Record<string, Figures & { rate: number, cpu: number }>} */
  const results = {}
  for (const [i, [name]] of entries.entries()) {
    const own = figures[i] ?? []
    /** @param {keyof Figures} key */
    const middle = (key) => median(own.map((figure) => figure[key]))
    /** @param {keyof Figures} key */
    const ratio = (key) => median(own.map((figure, round) => figure[key] / (first[round]?.[key] ?? NaN)))
    const [perSecond, cpuUs, delayP99Ms] = [middle('perSecond'), middle('cpuUs'), middle('delayP99Ms')]
    const [rate, cpu] = [ratio('perSecond'), ratio('cpuUs')]
    results[name] = { perSecond, cpuUs, delayP99Ms, rate, cpu }
    printRow([
      name,
      Math.round(perSecond).toLocaleString('en'),
      rate.toFixed(2),
      significant(cpuUs),
      cpu.toFixed(2),
      ...(withDelay ? [significant(delayP99Ms)] : []),
    ])
  }
  return results
}

/** @param {readonly string[]} cells */
export function printRow(cells) {
  console.log(`| ${cells.join(' | ')} |`)
}

/**
 * Three digits, or all of the integer part.
 * @param {number} value
 */
export function significant(value) {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}

export function printMachine() {
  const [cpu] = cpus()
  console.log(`Node ${process.version}, ${cpus().length} x ${cpu?.model.trim()}`)
}
