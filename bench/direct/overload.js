/**
 * Three times as many requests as a model can answer, for half a minute: what of its peak it still answers in time, how
 * soon the others are refused, and whether memory stays. Run after `npm run build`:
 * `node --expose-gc bench/direct/overload.js [--only convolution,defaults,tiny] [--seconds 30]`
 *
 * Requests arrive by the clock, whatever becomes of those before them, and latency counts from the intended arrival, so
 * that no delay is hidden. They are made by a timer of a millisecond on the event loop that the serving runs on too:
 * where that is what is short, as with the smallest models, arrivals later than a deadline are counted as not made.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createServing, onnx, ServingError } from 'mlserving'
import { importModels, writeModel } from '../models.js'
import { ramp, sizeOf } from './raw.js'
import { closedLoop, printMachine, printRow, significant } from './rounds.js'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'convolution,defaults,tiny' },
    seconds: { type: 'string', default: '30' },
    load: { type: 'string', default: '3' },
  },
})
const seconds = Number(values.seconds)
const load = Number(values.load)
const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
const { mlp, convolution } = await importModels(folder)

/** @typedef {(timeoutMs?: number) => Promise<unknown>} Predict */

/**
 * Requests at a constant rate.
 * @param {Predict} predict
 * @param {{ perSecond: number, deadlineMs: number, seconds: number }} options
 */
async function openLoop(predict, { perSecond, deadlineMs, seconds }) {
  const counts = { made: 0, notMade: 0, inTime: 0, late: 0, refused: 0, expired: 0 }
  // Histograms in microseconds: the times of millions of requests would be memory that grows.
  const admitted = createHistogram()
  const refusals = createHistogram()
  const perTick = Math.max(16, Math.ceil(perSecond / 1000))
  /** @type {{ rss: number, heap: number }[]} */
  const memory = []
  let underWay = 0
  let arrivals = 0
  const cpu = process.cpuUsage()
  const started = performance.now()

  /** @param {number} intendedAt */
  const request = async (intendedAt) => {
    counts.made++
    underWay++
    /** @param {import('node:perf_hooks').RecordableHistogram} histogram */
    const record = (histogram) => {
      const ms = performance.now() - intendedAt
      histogram.record(Math.max(1, Math.round(ms * 1000)))
      return ms
    }
    try {
      await predict(deadlineMs)
      if (record(admitted) <= deadlineMs) counts.inTime++
      else counts.late++
    } catch (error) {
      if (!ServingError.is(error)) throw error
      if (error.code === 'TIMEOUT') {
        counts.expired++
        record(admitted)
      } else {
        counts.refused++
        record(refusals)
      }
    } finally {
      underWay--
    }
  }

  await /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const timer = setInterval(() => {
        const now = performance.now()
        if ((memory.length * seconds) / 2 <= (now - started) / 1000) memory.push(memoryNow())
        const due = Math.min(Math.floor(((now - started) / 1000) * perSecond), perSecond * seconds)
        for (let made = 0; arrivals < due && made < perTick; arrivals++) {
          const intendedAt = started + (arrivals / perSecond) * 1000
          if (now - intendedAt > deadlineMs) counts.notMade++
          else {
            made++
            void request(intendedAt)
          }
        }
        if (now - started < seconds * 1000) return
        clearInterval(timer)
        resolve()
      }, 1)
    })
  )
  const tookSeconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  while (underWay > 0) await setTimeout(10)
  return {
    ...counts,
    goodput: counts.inTime / tookSeconds,
    cpuUs: (user + system) / Math.max(1, counts.inTime),
    admittedP99Ms: admitted.percentile(99) / 1000,
    refusalP50Ms: counts.refused === 0 ? undefined : refusals.percentile(50) / 1000,
    refusalP99Ms: counts.refused === 0 ? undefined : refusals.percentile(99) / 1000,
    memory,
  }
}

/** In MiB; what is garbage does not count. */
function memoryNow() {
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  return { rss: rss / 2 ** 20, heap: heapUsed / 2 ** 20 }
}

/**
 * @param {string} title
 * @param {Uint8Array} model
 * @param {readonly number[]} row
 * @param {Omit<Parameters<typeof onnx>[0], 'source'>} options
 */
async function overload(title, model, row, options) {
  const source = writeModel(folder, 'model.onnx', model)
  const serving = createServing({ models: { model: onnx({ source, ...options }) } })
  await serving.ready()
  const x = ramp(sizeOf(row))
  /** @type {Predict} */
  const predict = (timeoutMs) => serving.predict('model', { x }, timeoutMs === undefined ? {} : { timeoutMs })
  const closed = { concurrency: 64, ms: 3000 }
  await closedLoop({ call: predict }, closed)
  const alone = await closedLoop({ call: predict }, { concurrency: 1, ms: 1000 })
  const deadlineMs = Math.ceil(Math.max(50, 20 * (1000 / alone.perSecond)))

  const before = await closedLoop({ call: predict }, closed)
  // Unmeasured: what is allocated once is there when the memory is first looked at.
  await openLoop(predict, { perSecond: load * before.perSecond, deadlineMs, seconds: 2 })
  const peaks = await closedLoop({ call: predict }, closed)
  const result = await openLoop(predict, { perSecond: load * peaks.perSecond, deadlineMs, seconds })
  // The machine may be faster or slower by then.
  const after = await closedLoop({ call: predict }, closed)
  await serving.close()

  const peak = (peaks.perSecond + after.perSecond) / 2
  const peakCpuUs = (peaks.cpuUs + after.cpuUs) / 2
  const whole = (/** @type {number} */ value) => Math.round(value).toLocaleString('en')
  const ms = (/** @type {number | undefined} */ value) => (value === undefined ? '-' : significant(value))
  const path = (/** @type {'rss' | 'heap'} */ key) =>
    result.memory.map((moment) => whole(moment[key])).join(', ')
  console.log(`\n**${title}**, ${load} times its capacity for ${seconds} s, deadline ${deadlineMs} ms\n`)
  printRow(['', ''])
  console.log('|---|---:|')
  printRow(['peak of a closed loop, answers a second', whole(peak)])
  printRow([
    'answers in time a second (goodput)',
    `${whole(result.goodput)} (${(result.goodput / peak).toFixed(2)})`,
  ])
  printRow([
    'CPU an answer in time, us (at the peak)',
    `${significant(result.cpuUs)} (${significant(peakCpuUs)})`,
  ])
  printRow(['admitted p99, ms', ms(result.admittedP99Ms)])
  printRow(['refused p50, p99, ms', `${ms(result.refusalP50Ms)}, ${ms(result.refusalP99Ms)}`])
  for (const key of /** @type {const} */ (['made', 'notMade', 'inTime', 'late', 'expired', 'refused']))
    printRow([`requests: ${key}`, whole(result[key])])
  printRow(['RSS at start, middle, end, MiB', path('rss')])
  printRow(['heap at start, middle, end, MiB', path('heap')])
}

/** @type {Record<string, () => Promise<void>>} */
const sections = {
  convolution: () =>
    overload('Convolution in two threads', convolution({ layers: 2 }), [1, 8, 8], {
      placement: 'thread',
      instances: 2,
    }),
  defaults: () => overload('Convolution, defaults', convolution({ layers: 2 }), [1, 8, 8], {}),
  tiny: () =>
    overload('MLP 64-32-2, batched, inline', mlp([64, 32, 2]), [64], {
      placement: 'inline',
      batching: { maxBatchSize: 64 },
    }),
}

try {
  printMachine()
  for (const name of values.only.split(',')) await sections[name]?.()
} finally {
  rmSync(folder, { recursive: true })
}
