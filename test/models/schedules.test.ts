import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Batchable } from '../../src/batching/executor.js'
import type { Priority } from '../../src/batching/waiting.js'
import { ServingError } from '../../src/errors.js'
import { CutOff } from '../../src/models/cut-off.js'
import { statedSafety } from '../../src/models/batch-safety.js'
import type { BatchedModel, RequestCodec } from '../../src/models/loaded-model.js'
import { ModelVersion } from '../../src/models/version.js'
import { ManualClock } from '../manual-clock.js'

/** Rows are numbers, those of a request all of one sign; a version answers a row with itself and its own name. */
type Rows = readonly number[]
type Answers = readonly string[]

const numbers: Batchable<Rows, Answers> = {
  rows: (input) => input.length,
  bytes: (input) => input.length * 8,
  rowElements: (input) => Math.abs(input[0] ?? 0) % 7,
  signature: (input) => ((input[0] ?? 0) < 0 ? 'negative' : 'positive'),
  concat: (inputs) => inputs.flat(),
  slice: (input, from, to) => input.slice(from, to),
  sliceResult: (result, from, to) => result.slice(from, to),
  concatResults: (results) => results.flat(),
}

/** Ends its runs when the schedule says so; a row that is a multiple of `poison` fails its run. */
class ManualModel implements BatchedModel {
  readonly codec = {} as RequestCodec
  readonly batchable = numbers as BatchedModel['batchable']
  readonly batchSafety = statedSafety({ safe: true, by: 'declared', reason: 'rows are numbers' })
  readonly executor: BatchedModel['executor']
  readonly died: Promise<ServingError>
  die: (reason: ServingError) => void = () => {}
  isClosed = false
  readonly #running: (() => void)[] = []

  constructor(
    private readonly name: string,
    private readonly slots: number,
    private readonly poison: number,
  ) {
    this.executor = { slots, width: 0, mayHang: true, run: (rows) => this.run(rows as Rows) }
    this.died = new Promise((resolve) => {
      this.die = (reason) => {
        resolve(reason)
        for (const end of this.#running.splice(0)) end()
      }
    })
  }

  private run(rows: Rows): Promise<{ result: Answers; computeMs: number }> {
    expect(this.isClosed).toBe(false)
    expect(this.#running.length).toBeLessThan(this.slots)
    expect(new Set(rows.map(Math.sign)).size).toBe(1)
    return new Promise((resolve, reject) => {
      this.#running.push(() => {
        const bad = rows.find((row) => row % this.poison === 0)
        if (bad === undefined) resolve({ result: rows.map((row) => `${row}@${this.name}`), computeMs: 1 })
        else reject(new ServingError('INFERENCE_FAILED', `row ${bad}`))
      })
    })
  }

  finish(): void {
    this.#running.shift()?.()
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

const request = fc.record({
  rows: fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 1, maxLength: 6 }),
  isNegative: fc.boolean(),
  priority: fc.constantFrom<Priority>(0, 1, 2),
  tenant: fc.constantFrom('a', 'b', 'c'),
  deadlineMs: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
  isAborted: fc.boolean(),
  whenFull: fc.constantFrom('reject' as const, 'wait' as const),
})

/** What happens before each request: nothing, mostly. */
const step = fc.constantFrom(
  'finish',
  'finish',
  'turn',
  'advance',
  'abort',
  'switch',
  'nothing',
  'nothing',
  'die',
)

const schedule = fc.record({
  events: fc.array(fc.tuple(fc.array(step, { maxLength: 3 }), request), { minLength: 20, maxLength: 80 }),
  slots: fc.integer({ min: 1, max: 3 }),
  poison: fc.integer({ min: 5, max: 500 }),
  batching: fc.record(
    {
      maxBatchSize: fc.integer({ min: 1, max: 8 }),
      maxDelayMs: fc.constantFrom(0, 3),
      maxBatchElements: fc.integer({ min: 1, max: 40 }),
    },
    { requiredKeys: ['maxDelayMs'] },
  ),
  maxQueueRows: fc.integer({ min: 1, max: 40 }),
  isCutOff: fc.boolean(),
})

const refusals = [
  'QUEUE_FULL',
  'OVERLOADED',
  'TIMEOUT',
  'ABORTED',
  'INFERENCE_FAILED',
  'MODEL_NOT_READY',
  'CLOSED',
  'INTERNAL',
]

it('each of 100,000 requests is answered once with its own rows, whatever happens around it', async () => {
  let requests = 0
  const outcomes = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(schedule, async ({ events, slots, poison, batching, maxQueueRows, isCutOff }) => {
      const clock = new ManualClock()
      const cutOff = new CutOff()
      const opened: ManualModel[] = []
      const versions = ['1', '2'].map(
        (version) =>
          new ModelVersion(
            'm',
            { version, dir: '/', file: `/${version}` },
            {
              clock,
              cutOff,
              batching,
              maxQueueRows,
              open: async () => {
                const model = new ManualModel(version, slots, poison)
                opened.push(model)
                return model
              },
            },
          ),
      )
      let current = 0
      const load = async () => versions[current]?.load(() => {})
      await load()
      const asked: { rows: Rows; version: string; answers: number; outcome?: Answers | ServingError }[] = []
      const callers: AbortController[] = []
      const ends: Promise<unknown>[] = []

      const happen = async (what: string) => {
        if (what === 'finish') for (const model of opened) model.finish()
        else if (what === 'turn') await new Promise(setImmediate)
        else if (what === 'advance') clock.advance(2)
        else if (what === 'abort') callers.shift()?.abort()
        else if (what === 'die') opened.at(-1)?.die(new ServingError('WORKER_DIED', 'it ended'))
        else if (what === 'switch') {
          const before = versions[current]
          current = 1 - current
          await load()
          ends.push(before?.unload() ?? Promise.resolve())
        }
      }

      for (const [steps, { rows: magnitudes, isNegative, isAborted, deadlineMs, ...options }] of events) {
        for (const what of steps) await happen(what)
        let lease = versions[current]?.lease()
        if (lease === undefined) {
          await load()
          lease = versions[current]?.lease()
        }
        if (lease === undefined) throw new Error('a version that was loaded gives no lease')
        const caller = new AbortController()
        if (isAborted) callers.push(caller)
        const rows = isNegative ? magnitudes.map((row) => -row) : magnitudes
        const entry: (typeof asked)[number] = { rows, version: lease.version, answers: 0 }
        asked.push(entry)
        const limits = {
          ...options,
          signal: caller.signal,
          ...(deadlineMs && { deadlineMs: clock.now() + deadlineMs }),
        }
        void lease.batcher
          .submit([...rows], limits)
          .then(
            ({ result }) => (entry.outcome = result as Answers),
            (error: unknown) => (entry.outcome = error as ServingError),
          )
          .finally(() => {
            entry.answers++
            lease.release()
          })
      }
      if (isCutOff) cutOff.now()
      for (const version of versions) ends.push(version.unload())
      for (let i = 0; i < 400 && asked.some(({ answers }) => answers === 0); i++) {
        await happen('finish')
        await happen('turn')
        clock.advance(1)
      }
      expect(asked.filter(({ answers }) => answers !== 1)).toEqual([])
      await Promise.all(ends)
      expect(versions.map(({ leases }) => leases)).toEqual([0, 0])
      expect(clock.timers).toBe(0)
      for (const { rows, version, outcome } of asked) {
        requests++
        const kind = outcome instanceof ServingError ? outcome.code : 'answered'
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
        if (!(outcome instanceof ServingError))
          expect(outcome).toEqual(rows.map((row) => `${row}@${version}`))
        else if (outcome.code === 'INFERENCE_FAILED')
          expect(rows.some((row) => row % poison === 0)).toBe(true)
        else if (outcome.code === 'INVALID_INPUT') expect(rows.length).toBeGreaterThan(maxQueueRows)
        else expect(refusals).toContain(outcome.code)
      }
    }),
    { numRuns: 3400 },
  )
  expect(requests).toBeGreaterThanOrEqual(100_000)
  // A schedule that only refuses, or never does, would prove little.
  for (const kind of [
    'answered',
    'QUEUE_FULL',
    'OVERLOADED',
    'TIMEOUT',
    'ABORTED',
    'INFERENCE_FAILED',
    'MODEL_NOT_READY',
    'CLOSED',
  ]) {
    expect([kind, (outcomes.get(kind) ?? 0) > 100]).toEqual([kind, true])
  }
}, 180_000)
