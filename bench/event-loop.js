/**
 * What a model does to the server around it: event-loop delay, latency of a probe, throughput and CPU, for a route
 * that calls onnxruntime-node itself and for mlserving. Run after `npm run build`: `node bench/event-loop.js`
 *
 * Server, load and probe are processes of their own. The servers take turns in short rounds, so that what else the
 * machine does meets all of them; figures are medians, and relative ones are medians of the rounds' own ratios.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { importModels, median, writeModel } from './models.js'

/** @typedef {{ eventLoopP99Ms: number, cpuMs: number }} ServerFigures */
/** @typedef {{ requests: number, seconds: number, p50Ms: number, p99Ms: number, failed: number }} LoadFigures */
/** @typedef {{ p99Ms: number }} ProbeFigures */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '4' },
    concurrency: { type: 'string', default: '8' },
    layers: { type: 'string', default: '14' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const concurrency = Number(values.concurrency)
const layers = Number(values.layers)

const servers = /** @type {const} */ ({
  naive: 'session.run in a Fastify route',
  fastify: 'mlserving on Fastify',
  express: 'mlserving on Express',
  instances: 'mlserving on Fastify, an instance a core',
})

const folder = mkdtempSync(join(tmpdir(), 'mlserving-bench-'))
/** @type {import('node:child_process').ChildProcess[]} */
const children = []
try {
  const { convolution } = await importModels(folder)
  const model = writeModel(folder, 'model.onnx', convolution({ layers }))
  const benches = await Promise.all(Object.keys(servers).map((name) => prepare(name, model)))
  /** @type {Record<string, number>[][]} */
  const figures = benches.map(() => [])
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}\n`)
    for (const [i, bench] of benches.entries()) figures[i]?.push(await measure(bench))
  }
  print(figures)
} finally {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
}

/**
 * Starts one server, its load and its probe, and warms it up.
 * @param {string} name
 * @param {string} model
 */
async function prepare(name, model) {
  const server = start('server.js', [name, model])
  const { port } = await ask(server)
  const load = start('load.js', [`http://127.0.0.1:${port}/predict`, `${concurrency}`, `${seconds}`])
  const probe = start('probe.js', [`http://127.0.0.1:${port}/health`, `${seconds}`])
  await Promise.all([ask(load), ask(probe)])
  return { name, server, load, probe }
}

/**
 * One server under load, once.
 * @param {Awaited<ReturnType<typeof prepare>>} bench
 */
async function measure({ name, server, load, probe }) {
  await ask(server, 'begin')
  const [loaded, probed] = /** @type {[LoadFigures, ProbeFigures]} */ (
    await Promise.all([ask(load, 'begin'), ask(probe, 'begin')])
  )
  const served = /** @type {ServerFigures} */ (await ask(server, 'end'))

  if (loaded.failed > 0) throw new Error(`${name}: ${loaded.failed} requests failed`)
  return {
    'event-loop delay p99, ms': served.eventLoopP99Ms,
    '/health p99, ms': probed.p99Ms,
    'predictions a second': loaded.requests / loaded.seconds,
    'prediction p50, ms': loaded.p50Ms,
    'prediction p99, ms': loaded.p99Ms,
    'server CPU a prediction, ms': served.cpuMs / loaded.requests,
  }
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function start(program, args) {
  const child = fork(new URL(program, import.meta.url), args)
  children.push(child)
  child.once('exit', (code) => {
    if (code !== null) throw new Error(`${program} ended with ${code}`)
  })
  return child
}

/**
 * Sends a word to a program, and waits for the next that it says.
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} [word]
 */
async function ask(child, word) {
  const answer = once(child, 'message')
  if (word !== undefined) child.send(word)
  const [message] = await answer
  return message
}

/** @param {Record<string, number>[][]} figures of each server its rounds */
function print(figures) {
  const [naive = []] = figures
  const [cpu] = cpus()
  console.log(
    `\nNode ${process.version}, ${cpus().length} x ${cpu?.model.trim()}; a convolution of ${layers} layers,`,
    `concurrency ${concurrency}, ${rounds} rounds of ${seconds} s. In brackets: relative to the first column.\n`,
  )
  console.log(`| | ${Object.values(servers).join(' | ')} |\n|---|${'---:|'.repeat(figures.length)}`)
  for (const name of Object.keys(naive[0] ?? {})) {
    const cells = figures.map((rows) => {
      const value = median(rows.map((row) => row[name] ?? NaN)).toFixed(1)
      const ratio = median(rows.map((row, round) => (row[name] ?? NaN) / (naive[round]?.[name] ?? NaN)))
      return rows === naive ? value : `${value} (${ratio.toFixed(2)})`
    })
    console.log(`| ${name} | ${cells.join(' | ')} |`)
  }
}
